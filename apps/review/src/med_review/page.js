"use strict";
// Verdicts live in this page until they are exported: nothing is stored, nothing is sent.
const about = JSON.parse(document.getElementById("about").textContent);
const cases = Array.from(document.querySelectorAll("article"));
let at = 0, exported = true;

const verdictOf = (article) => article.querySelector("input[type=radio]:checked")?.value ?? null;

function show(index) {
  at = Math.max(0, Math.min(cases.length - 1, index));
  cases.forEach((article, i) => { article.hidden = i !== at; });
  document.getElementById("back").disabled = at === 0;
  document.getElementById("on").disabled = at === cases.length - 1;
  count();
}

function count() {
  const done = cases.filter(verdictOf).length;
  document.getElementById("done").textContent = `case ${at + 1} of ${cases.length}, ${done} judged`;
  document.querySelector(".bar > div").style.width = `${100 * done / cases.length}%`;
}

function verdicts() {
  return {
    format: about.format, page: about.page, title: about.title, reader: document.getElementById("reader").value.trim(),
    cases: cases.map((article) => ({ id: article.dataset.id, verdict: verdictOf(article), comment: article.querySelector("textarea").value.trim() })),
  };
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(verdicts(), null, 1)], { type: "application/json" }));
  link.download = `verdicts-${document.getElementById("reader").value.trim().replace(/[^\p{L}\p{N}]+/gu, "-") || "reader"}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  exported = true;
}

function judge(verdict) {
  cases[at].querySelector(`input[value=${verdict}]`).checked = true;
  exported = false;
  count();
}

const keys = {
  ArrowLeft: () => show(at - 1), ArrowRight: () => show(at + 1),
  1: () => judge("accept"), 2: () => judge("minor"), 3: () => judge("major"),
  c: () => cases[at].querySelector("textarea").focus(), h: () => document.body.classList.toggle("bare"),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("textarea, input[type=text]");
  if (typing && event.key === "Escape") { event.target.blur(); return; }
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
  event.preventDefault();
  keys[event.key]();
});
document.addEventListener("input", () => { exported = false; count(); });
document.getElementById("back").addEventListener("click", () => show(at - 1));
document.getElementById("on").addEventListener("click", () => show(at + 1));
document.getElementById("hide").addEventListener("click", keys.h);
document.getElementById("export").addEventListener("click", save);
window.addEventListener("beforeunload", (event) => { if (!exported) event.preventDefault(); });
show(0);
