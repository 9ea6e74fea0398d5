// Elements from data. Texts are always set as texts: a title of the shop can't become markup.

export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    // A style attribute would be against the page's own policy; single properties are not.
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/** Tells those who don't see the page what has changed in it. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

export function field(label, control, ...after) {
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, ...after);
}

export function alertBox(error, retry) {
  return h(
    "div",
    { class: "alert", role: "alert" },
    h("p", {}, error.message),
    retry ? h("button", { type: "button", class: "plain", onclick: retry }, "Try again") : null,
  );
}

export const named = (text) => text || "(no title)";

export function title(text, level = "span") {
  return h(level, { class: "name", dir: "auto" }, named(text));
}

export function badges(item) {
  return [
    item.is_new ? h("span", { class: "badge new" }, "New") : null,
    item.available ? null : h("span", { class: "badge off" }, "Not available"),
  ];
}

export const itemLink = (item) =>
  h("a", { href: `#/product/${encodeURIComponent(item.item_id)}` }, title(item.name));

export const userLink = (user) =>
  h("a", { href: `#/customer/${encodeURIComponent(user)}`, class: "name", dir: "auto" }, user);

export const count = (number, one, many = `${one}s`) =>
  `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

export const number = (value, digits = 4) =>
  value === null || value === undefined ? "–" : value.toFixed(digits);

// The sum makes 0 of what is rounded to -0.
export const percent = (share) => `${(Math.round(100 * share) + 0).toFixed(0)} %`;

/** Of a share between 0 and 1; scores that have no zero have no bar. */
export const bar = (share) =>
  h("span", { class: "bar", "aria-hidden": "true", "--share": `${(100 * Math.max(0, share)).toFixed(1)}%` });
