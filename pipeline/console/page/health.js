// Gates and drift of the newest judged run, and the versions with what may be done to them.

import { get } from "./api.js";
import { change } from "./change.js";
import { count, h, number, say } from "./dom.js";
import { answering } from "./result.js";

const TONES = { none: "good", notice: "", alert: "bad" };
const VERDICTS = { none: "no drift", notice: "notice, from 0.1", alert: "alert, from 0.25" };

export function health(main, _, { readOnly, refresh }) {
  const done = async (told) => { await refresh(); show(told); };
  const [result, show] = answering(
    (signal) => get("overview", {}, signal),
    (found, told) => {
      say(told || `${count(found.versions.length, "version")}.`);
      return [
        ...(told ? [h("p", { class: "panel told" }, told)] : []),
        ...newest(found.run),
        versions(found.versions, readOnly() ? null : done),
      ];
    },
  );
  result.append(h("p", { class: "muted" }, "Reading the records."));
  main.replaceChildren(h("h1", {}, "Health"), result);
  show("");
}

function newest(run) {
  if (!run) return [h("p", {}, "No run of this root has been judged yet.")];
  if (run.lost) return [h("p", {}, `Run ${run.run_id} was judged; its evaluation is gone from ${run.lost}: it was `,
    "removed, or the root was moved. Put it back there, or train anew with ",
    h("code", {}, "debut run --set run.enable_cache=false"), ".")];
  const report = run.report
    ? h("p", {}, h("a", { href: `/reports/${encodeURIComponent(run.report)}` }, "The whole report of this run")) : null;
  return [
    h("section", { class: `banner ${run.verdict.is_good ? "good" : "bad"}` },
      h("h2", {}, run.verdict.headline),
      run.verdict.reasons.map((reason) => h("p", {}, reason)),
      h("p", { class: "meta" }, `Run ${run.run_id}`), report),
    h("section", { class: "panel" }, h("h2", {}, "Gates"),
      h("p", { class: "muted" }, "The mark is the bound, the ring the baseline. A value may be worse than the baseline's by the tolerance."),
      h("ul", { class: "gates" }, run.gates.map(gate))),
    drift(run.drift),
  ];
}

function gate(one) {
  const largest = 1.15 * Math.max(one.candidate ?? 0, one.bound, one.baseline ?? 0, 1e-9);
  const at = (value) => `${((100 * Math.max(0, value)) / largest).toFixed(1)}%`;
  return h("li", {},
    h("div", { class: "row" },
      h("div", { class: "what" }, h("span", { class: "name" }, one.metric.replaceAll("_", " ").replace(" at ", " @ ")),
        h("span", { class: "meta" }, `on ${one.slice}, ${one.direction} is better`)),
      h("span", { class: "score" }, number(one.candidate)),
      h("span", { class: `verdict ${one.passed ? "good" : "bad"}` }, one.passed ? "passed" : "refused")),
    h("div", { class: "meter", "aria-hidden": "true" },
      h("span", { class: "fill", "--at": at(one.candidate ?? 0) }),
      one.baseline === null ? null : h("span", { class: "ring", "--at": at(one.baseline) }),
      h("span", { class: "tick", "--at": at(one.bound) })),
    h("p", { class: "meta" },
      `${one.direction === "higher" ? "at least" : "at most"} ${one.bound}`,
      one.baseline === null ? ", no baseline" : `, baseline ${number(one.baseline)}`,
      one.baseline === null || one.tolerance === null ? "" : `, tolerance ${one.tolerance}`));
}

function drift(found) {
  const section = h("section", { class: "panel" }, h("h2", {}, "Drift"));
  if (!found.since) {
    section.append(h("p", { class: "muted" }, "There is no earlier run to compare with."));
    return section;
  }
  section.append(h("p", { class: "muted" }, `Against run ${found.since}, the one behind the stable version before.`));
  if (found.uncompared) {
    section.append(h("p", {}, found.uncompared));
  } else {
    section.append(h("p", {}, "Predicted ratings: stability index ", h("b", {}, number(found.ratings, 3)), ", ",
      h("span", { class: TONES[found.verdict] }, VERDICTS[found.verdict]), "."));
  }
  section.append(h("ul", { class: "gates" }, found.features.map((one) => {
    const largest = 1.15 * Math.max(one.divergence, one.threshold);
    return h("li", {},
      h("div", { class: "row" },
        h("div", { class: "what" }, h("span", { class: "name" }, one.feature), h("span", { class: "meta" }, `split ${one.split}`)),
        h("span", { class: "score" }, number(one.divergence))),
      h("div", { class: "meter", "aria-hidden": "true" },
        h("span", { class: "fill", "--at": `${(100 * one.divergence) / largest}%` }),
        h("span", { class: "tick", "--at": `${(100 * one.threshold) / largest}%` })),
      h("p", { class: "meta" }, `stops a run from ${one.threshold}`));
  })));
  return section;
}

function versions(found, done) {
  const canary = found.find((version) => version.labels.includes("canary"));
  const newest = found.find((version) => version.is_newest);
  return h("section", { class: "panel" }, h("h2", {}, "Versions"),
    done && canary ? h("p", { class: "act" }, change({
      id: "promote", name: "Promote the canary", path: "promote", body: { version: String(canary.version) }, done,
      about: `Version ${canary.version}, the canary, becomes the stable version.`, needsReason: false })) : null,
    h("ol", { class: "versions" }, found.map((version) => h("li", {},
      h("div", { class: "row" },
        h("div", { class: "what" },
          h("span", { class: "name" }, String(version.version), " ",
            version.labels.map((label) => h("span", { class: `badge ${label}` }, label)),
            version.is_newest ? h("span", { class: "badge" }, "newest") : null),
          h("span", { class: "meta" }, `Pushed ${version.pushed.replace("T", " ").replace("Z", " UTC")}, `,
            version.by === "not recorded" ? version.by : `by ${version.by}`,
            version.base === null ? "" : `, made of ${version.base}`,
            version.data ? `, data ${version.data[0]} to ${version.data[1]}` : "", `, ${version.megabytes.toFixed(1)} MB`),
          version.reason ? h("span", { class: "meta" }, "Reason: ", h("bdi", {}, version.reason)) : null,
          version.withdrawn ? h("span", { class: "meta bad" }, "Withdrawn: ", h("bdi", {}, version.withdrawn)) : null,
          version.metrics.length ? h("span", { class: "meta" }, version.metrics
            .map((one) => `${one.name.replaceAll("_", " ")} ${number(one.value)}`).join(" · ")) : null),
        version.has_card ? h("a", { href: `/reports/cards/${version.version}.html` }, "Model card") : null,
        h("span", { class: "verdict" }, version.gates ? `gates ${version.gates}` : ""),
        done && !version.is_newest ? change({
          id: `rollback-${version.version}`, name: `Roll back to ${version.version}`, path: "rollback", done,
          body: { version: String(version.version), newest: String(newest.version) },
          about: "Its content is pushed again under the newest number, as the stable version.",
          needsReason: true }) : null)))));
}
