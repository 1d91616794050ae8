"use strict";
const root = document.documentElement;
const remembered = (() => { try { return localStorage.getItem("assay-theme"); } catch { return null; } })();
if (remembered === "dark" || remembered === "light") root.dataset.theme = remembered;
document.getElementById("theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("assay-theme", root.dataset.theme); } catch { /* a page from disk may have no storage */ }
});
const trials = [...document.querySelectorAll(".trial")];
const words = new Map();
const search = document.getElementById("search");
const outcome = document.getElementById("outcome");
const benchmark = document.getElementById("benchmark");
const shown = document.getElementById("shown");
function wordsOf(trial) {
  if (!words.has(trial)) words.set(trial, trial.textContent.toLowerCase());
  return words.get(trial);
}
function filter() {
  const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const trial of trials) {
    const fits = (!outcome.value || trial.dataset.outcome === outcome.value)
      && (!benchmark.value || trial.dataset.benchmark === benchmark.value)
      && wanted.every((word) => wordsOf(trial).includes(word));
    trial.hidden = !fits;
    count += fits;
  }
  shown.textContent = `${count} of ${trials.length}`;
}
let waiting;
search.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(filter, 120); });
outcome.addEventListener("change", filter);
benchmark.addEventListener("change", filter);
document.getElementById("toggle").addEventListener("click", () => {
  const visible = trials.filter((trial) => !trial.hidden).slice(0, 200);
  const open = !visible.every((trial) => trial.open);
  for (const trial of visible) trial.open = open;
});
function openLinked() {
  const linked = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  if (linked && linked.classList.contains("trial")) { linked.hidden = false; linked.open = true; linked.scrollIntoView(); }
}
addEventListener("hashchange", openLinked);
addEventListener("keydown", (event) => {
  if (event.key === "/" && !/INPUT|SELECT|TEXTAREA/.test(document.activeElement.tagName)) { event.preventDefault(); search.focus(); }
});
filter();
openLinked();
