// The views by address, and what they share: the version that is asked, and whether any answers.

import { read, write } from "./address.js";
import { get } from "./api.js";
import { alertBox, h } from "./dom.js";
import { compare } from "./compare.js";
import { customers } from "./customers.js";
import { health } from "./health.js";
import { products } from "./products.js";
import { options, pick } from "./versions.js";

const VIEWS = {
  __proto__: null, // an address may name anything, and an object has a `constructor`
  products: [products, "products"], product: [products, "products"], new: [products, "products"],
  customers: [customers, "customers"], customer: [customers, "customers"],
  compare: [compare, "compare"], health: [health, "health"],
};
const main = document.getElementById("main");
const notice = document.getElementById("notice");
const select = document.getElementById("version");
let state = { versions: [], read_only: true };

const shared = {
  note,
  ask,
  versions: () => state.versions,
  readOnly: () => state.read_only,
  go: (address) => { location.hash = address; },
  refresh: refreshed,
};

/** Notes in the address what is shown, so that the way back, a reload or somebody else finds it. */
function note(chosen, name = read(location.hash).name, subject = read(location.hash).subject) {
  history.replaceState({ noted: true }, "", write(name || "products", subject, { ...chosen, version: select.value }));
}

/** Asks the chosen version. An answer of one that the list lacks has the list read anew. */
async function ask(name, parameters, signal) {
  const found = await get(name, { ...parameters, version: select.value }, signal);
  const known = state.versions.map((one) => one.version);
  if (select.value ? !known.includes(found.version) : found.version !== known[0]) refreshed();
  return found;
}

function show() {
  const { name, subject, chosen } = read(location.hash);
  const [view, section] = VIEWS[name] ?? VIEWS.products;
  // A link to a view chooses nothing: there all stays as it was. Otherwise what is left out is the usual.
  const choice = Object.keys(chosen).length || history.state?.noted ? chosen : null;
  if (choice) pick(select, choice.version ?? "");
  note(chosen);
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#/${section}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `Debut console: ${section}`;
  view(main, [name, subject], { ...shared, choice });
}

async function refreshed() {
  try {
    state = await get("status");
    notice.replaceChildren(...(state.reachable ? [] : [alertBox(new Error(state.error), started)]));
  } catch (error) {
    notice.replaceChildren(alertBox(error, started));
  }
  const kept = select.value;
  select.replaceChildren(
    h("option", { value: "" }, state.versions.length ? `newest: ${state.versions[0].version}` : "none"),
    ...options(state.versions),
  );
  pick(select, kept);
}

async function started() {
  await refreshed();
  show();
}

addEventListener("hashchange", () => {
  show();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
select.addEventListener("change", () => {
  note(read(location.hash).chosen);
  show();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names the view
  main.focus();
});
addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea, dialog");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const find = document.getElementById("find");
  if (find) {
    event.preventDefault();
    find.focus();
  }
});
started();
