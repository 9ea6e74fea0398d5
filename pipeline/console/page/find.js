// A search field over links. Arrow keys move between them, Enter on the field opens the first.

import { debounced, latest } from "./api.js";
import { count, h, say } from "./dom.js";

const remembered = new Map(); // what was searched for, by label, while views come and go

export function finder({ id, label, hint, of, row, one, ask }) {
  let openFirst = false;
  const input = h("input", {
    id, type: "search", autocomplete: "off", spellcheck: "false", enterkeyhint: "search",
    "aria-describedby": `${id}-hint`, "aria-controls": `${id}-hits`,
  });
  const hits = h("ul", { class: "hits", id: `${id}-hits` });
  const about = h("p", { class: "muted", id: `${id}-hint` }, hint);
  const search = latest(
    (signal, q) => ask(of, { q }, signal),
    (found) => {
      hits.replaceChildren(...found.found.map((hit) => h("li", {}, row(hit))));
      about.textContent = told(found, one);
      say(about.textContent);
      if (openFirst) links()[0]?.click();
      openFirst = false;
    },
    (error) => {
      openFirst = false;
      hits.replaceChildren();
      about.textContent = error.message;
    },
  );
  const links = () => [...hits.querySelectorAll("a")];
  input.value = remembered.get(label) ?? "";
  input.addEventListener("input", debounced(() => {
    remembered.set(label, input.value);
    search(input.value);
  }));
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") move(event, links()[0]);
    if (event.key === "Enter") {
      openFirst = true; // of what is typed by now, which may not have been looked for yet
      search(input.value);
    }
  });
  hits.addEventListener("keydown", (event) => {
    const all = links();
    const at = all.indexOf(document.activeElement);
    if (event.key === "ArrowDown") move(event, all[at + 1]);
    if (event.key === "ArrowUp") move(event, at > 0 ? all[at - 1] : input);
  });
  search(input.value);
  const key = h("kbd", { "aria-hidden": "true" }, "/");
  return h(
    "search",
    { class: "finder" },
    h("label", { for: id }, label),
    h("div", { class: "keyed" }, input, key),
    about,
    hits,
  );
}

const told = ({ found, count: all }, one) =>
  found.length < all ? `The first ${found.length} of ${count(all, one)}.` : `${count(all, one)}.`;

function move(event, to) {
  if (!to) return;
  event.preventDefault();
  to.focus();
}
