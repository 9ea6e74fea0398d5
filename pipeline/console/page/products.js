// Search the catalogue, or type what is not there yet: what is like it, and who will like it.

import { debounced } from "./api.js";
import { badges, bar, count, field, h, itemLink, named, number, say, title, userLink } from "./dom.js";
import { finder } from "./find.js";
import { answering } from "./result.js";

const TEXTS = ["category", "brand", "description"];

export function products(main, [kind, id], { ask, note, choice }) {
  const typed = kind === "new" ? { ...choice, title: id } : {};
  const desk = h("div", { class: "desk" });
  const [result, show] = answering(
    (signal, asked) => {
      desk.classList.add("chosen");
      return ask("product", { ...asked, k: 12 }, signal);
    },
    (found, asked) => {
      say(`${count(found.neighbours.length, "item")} like it, ${count(found.audience.length, "customer")} who will like it.`);
      return product(found, asked.title);
    },
  );
  desk.append(
    h(
      "div",
      { class: "rail" },
      newProduct(typed, show, note),
      finder({
        id: "find", label: "Or search the catalogue", hint: "Words of the title, or an id.",
        ask, of: "items", row: hit, one: "product",
      }),
    ),
    result,
  );
  main.replaceChildren(h("h1", { class: "unseen" }, "Products"), desk);
  if (kind === "product" && id) show({ item: id });
  else if (typed.title?.trim()) show(question(typed));
  else result.append(welcome());
}

function welcome() {
  return h(
    "div",
    { class: "welcome" },
    h("p", { class: "large" }, "Who will like a product that nobody has bought yet?"),
    h("p", { class: "muted" }, "Type its title. Its nearest products and its audience appear at once."),
  );
}

const question = ({ title, price = "", ...typed }) => ({
  title, ...Object.fromEntries(TEXTS.map((name) => [name, typed[name] ?? ""])), price: price.replace(",", "."),
});

function newProduct(typed, show, note) {
  const input = h("input", { id: "title", autocomplete: "off", dir: "auto", maxlength: "300" });
  const more = TEXTS.map((name) => h("input", { id: name, autocomplete: "off", dir: "auto" }));
  const price = h("input", { id: "price", inputmode: "decimal", autocomplete: "off" });
  for (const one of [input, ...more, price]) one.value = typed[one.id] ?? "";
  const ask = debounced(() => {
    if (!input.isConnected || !input.value.trim()) return;
    const texts = Object.fromEntries([...more, price].map((one) => [one.id, one.value]));
    note(texts, "new", input.value);
    show(question({ title: input.value, ...texts }));
  });
  return h(
    "form",
    { class: "panel", oninput: ask, onsubmit: (event) => (event.preventDefault(), ask()) },
    field("Title of a new product", input),
    h(
      "details",
      { open: [...more, price].some((one) => one.value) },
      h("summary", {}, "More about it"),
      ...more.map((one) => field(one.id[0].toUpperCase() + one.id.slice(1), one)),
      field("Price", price),
    ),
  );
}

const hit = (item) =>
  h(
    "a",
    { href: `#/product/${encodeURIComponent(item.item_id)}` },
    title(item.name),
    h("span", { class: "meta" }, item.item_id, " · ", sold(item), ...badges(item)),
  );

export const sold = (item) => (item.buyers ? count(item.buyers, "buyer") : "no buyer");

function product(found, typed) {
  const item = found.item;
  return [
    h(
      "header",
      { class: "subject" },
      title(item ? item.name : typed, "h2"),
      h(
        "p",
        { class: "meta" },
        item ? [`Item ${item.item_id} · `, sold(item), ...badges(item)]
             : ["Not on the shelf ", h("span", { class: "badge new" }, "New")],
        ` · version ${found.version}`,
      ),
    ),
    h(
      "div",
      { class: "columns" },
      ranked("Who will like it", "Best first, without who bought it. The score compares customers.",
        found.audience, "Nobody.", (one) => [row(customer(one), one.score, 2)]),
      ranked("Products like it", "By the cosine of their embeddings, which is 1 where the bar is full.",
        found.neighbours, "Nothing.", (item) => [row(neighbour(item), item.score, 3), bar(item.score)]),
    ),
  ];
}

const row = (what, score, digits) =>
  h("div", { class: "row" }, what, h("span", { class: "score" }, number(score, digits)));

function ranked(heading, about, rows, none, render) {
  return h(
    "section",
    { class: "panel" },
    h("h3", {}, heading),
    h("p", { class: "muted" }, about),
    rows.length
      ? h("ol", { class: "ranks" }, rows.map((one) => h("li", {}, render(one))))
      : h("p", {}, none),
  );
}

const customer = (one) =>
  h(
    "div",
    { class: "what" },
    userLink(one.user_id),
    h("span", { class: "meta" }, `${count(one.bought, "item")} bought`,
      one.latest.length ? [", lately ", ...joined(one.latest.slice(0, 2))] : null),
  );

const joined = (names) =>
  names.flatMap((name, place) => [place ? ", " : "", h("bdi", {}, named(name))]);

const neighbour = (item) =>
  h("div", { class: "what" }, itemLink(item),
    h("span", { class: "meta" }, item.item_id, " · ", sold(item), ...badges(item)));
