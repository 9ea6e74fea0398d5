// The part of a view that shows an answer, or why there is none.

import { latest } from "./api.js";
import { alertBox, h } from "./dom.js";

/** The element, and what asks anew. `show` makes an answer's elements. */
export function answering(ask, show) {
  const result = h("div", { class: "result", "aria-busy": "false" });
  const again = latest(
    (signal, ...given) => {
      result.setAttribute("aria-busy", "true");
      return ask(signal, ...given);
    },
    (found, ...given) => fill(result, show(found, ...given)),
    (error, ...given) => fill(result, [alertBox(error, () => again(...given))]),
  );
  return [result, again];
}

/** The focus stays on the control of the same id; where that is gone, it goes to the content. */
function fill(result, children) {
  const held = result.contains(document.activeElement) ? document.activeElement.id : null;
  result.setAttribute("aria-busy", "false");
  result.replaceChildren(...children);
  if (held === null) return;
  (document.getElementById(held) ?? document.getElementById("main")).focus({ preventScroll: true });
}
