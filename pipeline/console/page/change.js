// What changes something: a button, and a dialog that asks for the reason and the token.

import { post } from "./api.js";
import { alertBox, field, h } from "./dom.js";

let token = ""; // in memory only, until the page is closed

/** The button. `done` is told what was done, or an empty text where it was refused. */
export function change({ id, name, ...asked }) {
  return h("button", { id, type: "button", class: "plain", onclick: () => ask({ name, ...asked }) }, name);
}

function ask({ name, about, path, body, needsReason, done }) {
  const reason = h("input", { id: "reason", autocomplete: "off", required: needsReason });
  // No header holds another character; the blanks around it don't count.
  const secret = h("input", { id: "token", type: "password", autocomplete: "off", required: true,
    pattern: "\\s*[!-~]+\\s*", title: "A token is one word of ASCII characters." });
  secret.value = token;
  const told = h("div", {});
  const submit = h("button", { type: "submit" }, name);
  let refused = false;
  const send = async (event) => {
    event.preventDefault();
    if (submit.ariaDisabled === "true") return;
    submit.ariaDisabled = "true"; // `disabled` would take the focus from it
    try {
      const { version } = await post(path, { ...body, reason: reason.value }, secret.value);
      token = secret.value;
      refused = false;
      dialog.close();
      await done(`Done. Version ${version} is stable.`);
    } catch (error) {
      refused = true;
      told.replaceChildren(alertBox(error));
    } finally {
      submit.ariaDisabled = "false";
    }
  };
  const close = () => {
    dialog.remove();
    if (refused) done(""); // what was refused may have changed since it was shown
  };
  const dialog = h("dialog", { "aria-labelledby": "change", onclose: close },
    h("form", { onsubmit: send },
      h("h2", { id: "change" }, name), h("p", { class: "muted" }, about),
      field(needsReason ? "Reason" : "Reason (optional)", reason), field("Token", secret), told,
      h("div", { class: "buttons" },
        h("button", { type: "button", class: "plain", onclick: () => dialog.close() }, "Cancel"),
        submit)));
  document.body.append(dialog);
  dialog.showModal();
}
