// Versions as choices of a `select`.

import { h } from "./dom.js";

export const options = (versions) =>
  versions.map((one) => h("option", { value: one.version }, [one.version, ...one.labels].join(" · ")));

/** Chooses a version, also one that an address names and the model server has not loaded. */
export function pick(select, version) {
  if (version && ![...select.options].some((one) => one.value === version)) {
    select.append(h("option", { value: version }, `${version} · not loaded`));
  }
  select.value = version;
}
