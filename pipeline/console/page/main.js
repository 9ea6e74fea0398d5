// The views by address, and what they share: the version that is asked, and whether any answers.

import { get } from "./api.js";
import { alertBox, h } from "./dom.js";
import { compare } from "./compare.js";
import { customers } from "./customers.js";
import { health } from "./health.js";
import { products } from "./products.js";

const VIEWS = {
  products: [products, "products"], product: [products, "products"], new: [products, "products"],
  customers: [customers, "customers"], customer: [customers, "customers"],
  compare: [compare, "compare"], health: [health, "health"],
};
const main = document.getElementById("main");
const notice = document.getElementById("notice");
const select = document.getElementById("version");
let state = { versions: [], read_only: true };

const shared = {
  version: () => select.value,
  versions: () => state.versions,
  readOnly: () => state.read_only,
  go: (address) => { location.hash = address; },
  refresh: refreshed,
};

function show() {
  const [name, ...rest] = location.hash.replace(/^#\//, "").split("/");
  const [view, section] = VIEWS[name] ?? VIEWS.products;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#/${section}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `Debut console: ${section}`;
  view(main, [name, decodeURIComponent(rest.join("/"))], shared);
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
    ...state.versions.map((one) => h("option", { value: one.version }, [one.version, ...one.labels].join(" · "))),
  );
  if (state.versions.some((one) => String(one.version) === kept)) select.value = kept;
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
select.addEventListener("change", show);
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
