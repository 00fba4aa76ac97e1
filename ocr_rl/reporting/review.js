"use strict";
const articles = [...document.querySelectorAll("article")];
const bar = document.getElementById("bar");
const key = `ocr-rl review ${bar.dataset.name} ${bar.dataset.rows}`;
let unsaved = false;

const area = (article) => article.querySelector("textarea");
const hasImage = (article) => article.querySelector("img") !== null;
const accepted = () => articles.filter((one) => one.classList.contains("accepted"));

function describe(article) {
  const edited = area(article).value !== area(article).defaultValue;
  const done = article.classList.contains("accepted");
  article.querySelector("h3 output").value = [edited && "edited", done && "accepted"].filter(Boolean).join(", ");
  count();
}

function count(saved = "") {
  document.getElementById("count").value = `${accepted().length} of ${articles.length} accepted${saved}`;
}

/* What was typed survives a reload, where the browser keeps anything for files; other rows have another key. */
function keep() {
  const state = articles.map((one) => [area(one).value, one.classList.contains("accepted")]);
  try { localStorage.setItem(key, JSON.stringify(state)); } catch { /* it does not */ }
}

function restore() {
  let state = null;
  try { state = JSON.parse(localStorage.getItem(key)); } catch { return; }
  for (const [i, [text, done]] of (state ?? []).entries()) {
    area(articles[i]).value = text;
    articles[i].classList.toggle("accepted", done && hasImage(articles[i]));
  }
}

function change(article, text, done) {
  area(article).value = text;
  article.classList.toggle("accepted", done);
  unsaved = true;
  describe(article);
  keep();
}

function go(article) {
  article.focus({ preventScroll: true });
  article.scrollIntoView({ block: "nearest" });
}

function step(article, by) {
  const at = articles.indexOf(article) + by;
  go(articles[Math.max(0, Math.min(articles.length - 1, at))]);
}

function accept(article) {
  if (hasImage(article)) change(article, area(article).value, true);
  step(article, 1);
}

/* A row for each page; the image is in it, so that the file can be put anywhere. */
function corrections(pages) {
  return pages.map((one) => JSON.stringify({
    image: one.querySelector("img").src, text: area(one).value, id: one.dataset.id, doc: one.dataset.doc,
  }) + "\n").join("");
}

function save() {
  const pages = accepted().filter((one) => area(one).value.trim());
  const empty = accepted().length - pages.length;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([corrections(pages)], { type: "application/jsonl" }));
  link.download = bar.dataset.name.replace(/\.jsonl$/, "") + ".corrections.jsonl";
  link.click();
  unsaved = false;
  count(`, ${pages.length} saved${empty ? `; ${empty} left out: the text is empty` : ""}`);
}

for (const article of articles) {
  const image = article.querySelector("img");
  const shape = () => article.classList.toggle("beside", image.naturalWidth < 3 * image.naturalHeight);
  if (image) { if (image.complete) shape(); else image.addEventListener("load", shape); }
  area(article).addEventListener("input", () => change(article, area(article).value, false));
  article.querySelector(".accept")?.addEventListener("click", () => accept(article));
}

document.addEventListener("click", (event) => {
  const article = event.target.closest("article");
  const reading = event.target.closest(".reading"), word = event.target.closest(".word");
  if (reading) change(article, reading.dataset.text, false);
  if (!word) return;
  const same = area(article).value === area(article).defaultValue;
  area(article).focus();
  if (same) area(article).setSelectionRange(...utf16(area(article).value, word.dataset.start, word.dataset.end));
});

/* Places are counted in characters, those of a text area in UTF-16 units. */
function utf16(text, ...places) {
  const characters = [...text];
  return places.map((place) => characters.slice(0, place).join("").length);
}

document.addEventListener("keydown", (event) => {
  const article = document.activeElement?.closest("article") ?? null;
  const writing = event.target.tagName === "TEXTAREA";
  const wanted = event.ctrlKey || event.metaKey || event.altKey ? "" : event.key;
  const readings = article ? [...article.querySelectorAll(".reading")] : [];
  if (writing) {
    if (event.key === "Escape") go(article);
    else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) accept(article);
    else return;
  } else if (wanted === "j" || wanted === "k") {
    if (article) step(article, wanted === "j" ? 1 : -1); else go(articles[0]);
  } else if (wanted === "s") save();
  else if (!article) return;
  else if (wanted === "a") accept(article);
  else if (wanted === "u") change(article, area(article).defaultValue, false);
  else if (wanted === "Enter" && event.target === article) area(article).focus();
  else if (readings[wanted - 1]) change(article, readings[wanted - 1].dataset.text, false);
  else return;
  event.preventDefault();
});

document.getElementById("save").addEventListener("click", save);
bar.addEventListener("submit", (event) => event.preventDefault());
addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
restore();
for (const article of articles) describe(article);
if (articles.length) articles[0].focus({ preventScroll: true });
