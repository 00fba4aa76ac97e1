
"use strict";
const form = document.getElementById("filters");
const outputs = [...document.querySelectorAll(".output")];

function applyFilters() {
  const [candidate, category, kind] = ["candidate", "category", "kind"].map((name) => form.elements[name].value);
  const failedOnly = form.elements.failed.checked;
  let shown = 0;
  for (const output of outputs) {
    let rows = 0;
    if (!candidate || output.dataset.candidate === candidate) {
      for (const row of output.querySelectorAll("tr[data-test]")) {
        const fits = (!category || row.dataset.category === category) && (!kind || row.dataset.kind === kind)
          && (!failedOnly || row.classList.contains("failed"));
        row.hidden = !fits;
        rows += fits;
      }
    }
    output.hidden = rows === 0;
    if (candidate && rows) output.open = true;
    shown += rows;
  }
  for (const article of document.querySelectorAll("article")) {
    article.hidden = !article.querySelector(".output:not([hidden])");
  }
  document.getElementById("nothing").hidden = shown > 0;
  form.elements.count.value = `${shown.toLocaleString("en")} ${shown === 1 ? "verdict" : "verdicts"}`;
}

function choose(row) {
  const output = row.closest(".output");
  const again = row.classList.contains("chosen");
  for (const chosen of output.querySelectorAll(".chosen")) chosen.classList.remove("chosen");
  if (again) return;
  row.classList.add("chosen");
  const marks = [...output.querySelectorAll("mark")]
    .filter((mark) => mark.dataset.tests.split(" ").includes(row.dataset.test));
  for (const mark of marks) mark.classList.add("chosen");
  if (marks.length) marks[0].scrollIntoView({ block: "nearest", behavior: "smooth" });
}

form.addEventListener("change", applyFilters);
form.addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-test]");
  if (row && !String(getSelection())) choose(row);
});
document.addEventListener("keydown", (event) => {
  if ((event.key === "Enter" || event.key === " ") && event.target.matches("tr[data-test]")) {
    event.preventDefault();
    choose(event.target);
  }
});
applyFilters();
