// The same question to two versions, side by side.

import { get } from "./api.js";
import { badges, count, field, h, itemLink, say, userLink } from "./dom.js";
import { answering } from "./result.js";
import { options, pick } from "./versions.js";

const asked = { what: "customer", id: "", a: "", b: "" };
const LISTS = {
  __proto__: null, // as of the views
  customer: { label: "Customer", rows: (found) => found.list, parameter: "user" },
  neighbours: { label: "Products like", rows: (found) => found.neighbours, parameter: "item" },
  audience: { label: "Who will like", rows: (found) => found.audience, parameter: "item" },
};

export function compare(main, _, { versions, note, choice }) {
  const loaded = versions();
  for (const name of Object.keys(asked)) if (choice) asked[name] = choice[name] ?? "";
  if (!(asked.what in LISTS)) asked.what = "customer";
  if (!choice) forget(loaded);
  asked.a ||= String(loaded.at(-1)?.version ?? "");
  asked.b ||= String(loaded[0]?.version ?? "");
  const [result, show] = answering(
    async (signal) => {
      note(asked);
      const list = LISTS[asked.what];
      const name = asked.what === "customer" ? "customer" : "product";
      const both = await Promise.all([asked.a, asked.b].map((version) =>
        get(name, { [list.parameter]: asked.id, version, k: 20 }, signal)));
      return both.map(list.rows);
    },
    (both) => [table(...both)],
  );
  main.replaceChildren(
    h("h1", {}, "Compare two versions"),
    h("p", { class: "muted" }, loaded.length < 2
      ? "The model server has only one version loaded. It keeps the version before the newest: push another one, and both are here."
      : "The same question to both, the 20 best of each."),
    form(loaded, () => asked.id && show()),
    result,
  );
  if (asked.id && loaded.length) show();
}

/** Only an address keeps a version that is not loaded. */
function forget(loaded) {
  for (const name of ["a", "b"]) if (!loaded.some((one) => String(one.version) === asked[name])) asked[name] = "";
}

function form(loaded, show) {
  const version = (name, label) => {
    const select = h("select", { id: name, onchange: () => { asked[name] = select.value; show(); } }, options(loaded));
    pick(select, asked[name]);
    return field(label, select);
  };
  const what = h("select", { id: "what", onchange: () => { asked.what = what.value; show(); } },
    Object.entries(LISTS).map(([value, { label }]) => h("option", { value }, label)));
  what.value = asked.what;
  const id = h("input", { id: "subject", autocomplete: "off", value: asked.id });
  return h("form", { class: "panel across", onsubmit: (event) => {
    event.preventDefault();
    asked.id = id.value.trim();
    show();
  } },
    version("a", "Version"), version("b", "and version"),
    field("Ask for", what), field("Id", id), h("button", { type: "submit" }, "Compare"));
}

const key = (row) => row.item_id ?? row.user_id;
const cell = (row, mark) => row.item_id === undefined ? [userLink(row.user_id), " ", mark]
  : [itemLink(row), h("span", { class: "meta" }, row.item_id, ...badges(row), " ", mark)];

function table(before, after) {
  const was = new Map(before.map((row, place) => [key(row), place]));
  const is = new Set(after.map(key));
  const shared = after.filter((row) => was.has(key(row))).length;
  say(`${shared} of ${after.length} are in both lists.`);
  const rows = Array.from({ length: Math.max(before.length, after.length) }, (_, place) => {
    const [left, right] = [before[place], after[place]];
    return h("tr", {}, h("th", { scope: "row", class: "n" }, String(place + 1)),
      h("td", {}, left
        ? cell(left, is.has(key(left)) ? null : h("span", { class: "badge" }, "leaves")) : ""),
      h("td", {}, right ? cell(right, moved(was.get(key(right)), place)) : ""));
  });
  return h("section", { class: "panel" },
    h("p", {}, h("b", {}, `${shared} of ${count(after.length, "place")}`), " are in both lists."),
    h("div", { class: "table", tabindex: "0", role: "region", "aria-label": "The two lists" },
      h("table", { class: "pairs" },
        h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "n" }, "Place"),
          h("th", { scope: "col" }, asked.a), h("th", { scope: "col" }, asked.b))),
        h("tbody", {}, rows))));
}

function moved(from, to) {
  if (from === undefined) return h("span", { class: "badge new" }, "enters");
  if (from === to) return null;
  const up = from > to;
  return h("span", { class: `move ${up ? "up" : "down"}` },
    h("span", { "aria-hidden": "true" }, up ? "▲ " : "▼ "),
    h("span", { class: "unseen" }, up ? "up " : "down "), String(Math.abs(from - to)));
}
