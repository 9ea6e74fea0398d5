// Pick a customer: what was bought, and the list with the reasons for each item.

import { badges, count, field, h, itemLink, named, number, percent, say, userLink } from "./dom.js";
import { finder } from "./find.js";
import { sold } from "./products.js";
import { answering } from "./result.js";

const LENGTHS = ["10", "20", "50"];
let newOnly = false;
let length = LENGTHS[0];

export function customers(main, [kind, id], { ask, go, note, choice }) {
  if (choice) {
    newOnly = choice.new_only === "1";
    length = LENGTHS.includes(choice.k) ? choice.k : LENGTHS[0];
  }
  const chosen = () => ({ k: length, new_only: newOnly ? "1" : "" });
  const desk = h("div", { class: "desk" });
  const [result, show] = answering(
    (signal, user) => {
      desk.classList.add("chosen");
      note(chosen());
      return ask("customer", { user, ...chosen() }, signal);
    },
    (found, user) => {
      say(`The list of customer ${user}: ${count(found.list.length, "item")}.`);
      return customer(found, options(() => show(user)));
    },
  );
  desk.append(
    h(
      "div",
      { class: "rail" },
      finder({
        id: "find", label: "Find a customer", hint: "A part of the id.",
        ask, of: "users", row: userLink, one: "customer",
      }),
      unknown(go),
    ),
    result,
  );
  main.replaceChildren(h("h1", { class: "unseen" }, "Customers"), desk);
  if (kind === "customer" && id.trim()) show(id);
  else result.append(h("div", { class: "welcome" },
    h("p", { class: "large" }, "What is a customer shown, and why?"),
    h("p", { class: "muted" }, "Pick one. The list names the purchases and the words behind each item.")));
}

function unknown(go) {
  const input = h("input", { id: "unknown", autocomplete: "off" });
  const open = (event) => {
    event.preventDefault();
    if (input.value.trim()) go(`#/customer/${encodeURIComponent(input.value.trim())}`);
  };
  return h("form", { class: "inline", onsubmit: open },
    field("Or any id, known or not", input), h("button", { type: "submit" }, "Show"));
}

function options(again) {
  const only = h("input", { id: "new-only", type: "checkbox", onchange: () => { newOnly = only.checked; again(); } });
  only.checked = newOnly;
  const size = h("select", { id: "size", onchange: () => { length = size.value; again(); } },
    LENGTHS.map((k) => h("option", { value: k }, k)));
  size.value = length;
  return h("div", { class: "options" },
    h("span", { class: "check" }, only, h("label", { for: "new-only" }, "New products only")),
    h("span", { class: "check" }, h("label", { for: "size" }, "Items"), size));
}

function customer(found, controls) {
  return [
    h("header", { class: "subject" },
      h("h2", { dir: "auto" }, "Customer ", h("bdi", {}, found.user_id)),
      h("p", { class: "meta" }, found.is_known
        ? `${count(found.bought, "item")} bought` : "Not known: popular items, with room for new ones",
      ` · version ${found.version}`)),
    h("div", { class: "columns uneven" },
      h("section", { class: "panel" }, h("h3", {}, "The list"), controls,
        found.list.length
          ? h("ol", { class: "ranks" }, found.list.map(listed))
          : h("p", {}, "No candidate is left.")),
      h("section", { class: "panel" }, h("h3", {}, "Bought, latest first"),
        found.history.length
          ? h("ul", { class: "plainly" }, found.history.map((item) => h("li", {}, itemLink(item),
              h("span", { class: "meta" }, item.item_id, ...badges(item)))))
          : h("p", { class: "muted" }, "Nothing that the data knows."),
        found.bought > found.history.length
          ? h("p", { class: "muted" }, `and ${count(found.bought - found.history.length, "earlier item")}`) : null)),
  ];
}

function listed(item) {
  return h("li", {},
    h("div", { class: "row" },
      h("div", { class: "what" }, itemLink(item),
        h("span", { class: "meta" }, item.item_id, " · ", sold(item), ...badges(item))),
      h("span", { class: "score" }, number(item.score, 2))),
    reasons(item));
}

function reasons(item) {
  if (!item.because.length && !item.words.length) return null;
  const rows = [
    ["Because of", item.because.map((one) => h("li", {}, h("b", {}, percent(one.share)), " ", h("bdi", {}, named(one.name))))],
    ["Words", [...item.words.map((one) => h("li", {}, h("b", {}, percent(one.share)), " ", h("bdi", {}, one.word))),
      ...(item.words.length ? [h("li", {}, h("b", {}, percent(item.rest)), " no word adds")] : [])]],
  ];
  return h("dl", { class: "reasons" }, rows.filter(([, list]) => list.length).map(([term, list]) =>
    h("div", {}, h("dt", {}, term), h("dd", {}, h("ul", {}, list)))));
}
