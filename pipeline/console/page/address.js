// What an address names: the view, its subject, and what else was chosen there.

/** The parts of `#/view/subject?chosen=…`. */
export function read(hash) {
  const [path, chosen = ""] = hash.replace(/^#\//, "").split("?", 2);
  const [name, ...subject] = path.split("/");
  return { name, subject: decoded(subject.join("/")), chosen: Object.fromEntries(new URLSearchParams(chosen)) };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // typed by hand, as `50%`
  }
}

/** The address of these parts; what is empty is left out. */
export function write(name, subject, chosen) {
  const given = new URLSearchParams(Object.entries(chosen).filter(([, value]) => value !== ""));
  const path = [name, ...(subject ? [encodeURIComponent(subject)] : [])].join("/");
  return `#/${path}${String(given) && `?${given}`}`;
}
