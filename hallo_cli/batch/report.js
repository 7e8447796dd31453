"use strict";
const body = document.querySelector("tbody"), rows = [...body.rows], heads = [...document.querySelectorAll("th")];
const find = document.getElementById("find"), order = document.getElementById("order"), chips = [...document.querySelectorAll("button.chip[data-status]")], marked = [...document.querySelectorAll("button.chip[data-marked]")];
const texts = new Map(rows.map(row => [row, [2, 3, 4, 5, 6, 7].map(i => row.cells[i].textContent).join(" ").toLowerCase()]));
let status = "", wantedMark = null;
function filter() {
  const wanted = find.value.trim().toLowerCase();
  let shown = 0;
  for (const row of rows) {
    row.hidden = !(texts.get(row).includes(wanted) && (!status || row.dataset.status === status) && (wantedMark === null || (row.dataset.id && markOf(row) === wantedMark)));
    shown += !row.hidden;
  }
  document.getElementById("shown").textContent = shown === rows.length ? "" : `${shown} shown`;
}
function sort(column, ascending) {
  const isNumber = heads[column].hasAttribute("data-number"), sign = ascending ? 1 : -1;
  const value = row => isNumber ? row.cells[column].dataset.value : row.cells[column].textContent;
  rows.sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (!x || !y) return !x - !y;
    return sign * (isNumber ? x - y : x.localeCompare(y));
  });
  heads.forEach((head, i) => i === column ? head.setAttribute("aria-sort", ascending ? "ascending" : "descending") : head.removeAttribute("aria-sort"));
  body.append(...rows);
}
heads.forEach((head, column) => {
  if (!column) return;
  const label = head.textContent, button = document.createElement("button");
  button.type = "button"; button.textContent = label;
  button.addEventListener("click", () => sort(column, head.getAttribute("aria-sort") !== "ascending"));
  head.replaceChildren(button);
  for (const [word, ascending] of [["rising", 1], ["falling", 0]]) order.add(new Option(`${label}, ${word}`, `${column} ${ascending}`));
});
order.addEventListener("change", () => { const [column, ascending] = order.value.split(" ").map(Number); sort(column, !!ascending); });
find.addEventListener("input", filter);
// A mark holds for the video that was looked at: its digest goes with it. The browser keeps marks until they are saved.
const judged = rows.filter(row => row.dataset.id), memory = `hallo marks of ${document.body.dataset.batch}`;
const marks = new Map();
try {
  const kept = new Map(JSON.parse(localStorage.getItem(memory) || "[]"));
  for (const row of judged) { const old = kept.get(row.dataset.id); if (old && old.sha256 === row.dataset.sha256) marks.set(row.dataset.id, old); }
} catch { /* private windows keep nothing */ }
const player = document.getElementById("player"), screen = player.querySelector("video"), lesser = document.getElementById("lesser");
let playing = null;
const markOf = row => row.dataset.id && marks.get(row.dataset.id)?.mark || "";
function press(place, mark) {
  for (const button of place.querySelectorAll("button[data-mark]")) button.setAttribute("aria-pressed", String(button.dataset.mark === mark));
}
function showMarks() {
  for (const row of judged) press(row, markOf(row));
  if (playing) press(player, markOf(playing));
  for (const chip of marked) chip.querySelector("b").textContent = judged.filter(row => markOf(row) === chip.dataset.marked).length;
  document.getElementById("save").disabled = !marks.size;
  try { localStorage.setItem(memory, JSON.stringify([...marks])); } catch { /* as above */ }
}
function decide(row, mark) {
  const { id, sha256 } = row.dataset;
  if (markOf(row) === mark) marks.delete(id); else marks.set(id, { id, mark, sha256 });
  showMarks();
}
function play(row) {
  playing = row; lesser.hidden = true;
  document.getElementById("playing").textContent = row.dataset.id;
  screen.onerror = () => {
    screen.onerror = null;
    const small = row.querySelector("video");
    lesser.hidden = !small;
    if (small) { screen.src = small.src; screen.play(); }
  };
  screen.src = row.dataset.video;
  document.getElementById("plots").replaceChildren(...[...row.querySelectorAll(".plots svg")].map(plot => plot.cloneNode(true)));
  press(player, markOf(row));
  if (!player.open) player.showModal();
  screen.play().catch(() => {});
}
function step(by) {
  const seen = rows.filter(row => row.dataset.id && (row === playing || !row.hidden));
  const next = seen[seen.indexOf(playing) + by];
  if (next) play(next);
}
for (const row of judged) {
  for (const button of row.querySelectorAll("button[data-mark]")) button.addEventListener("click", () => decide(row, button.dataset.mark));
  const small = row.querySelector("video");
  if (!small) continue;
  small.controls = false; small.tabIndex = 0; small.title = "Play";
  small.addEventListener("click", () => play(row));
  small.addEventListener("keydown", event => { if (event.key === "Enter") play(row); });
}
for (const button of player.querySelectorAll("button[data-mark]")) button.addEventListener("click", () => decide(playing, button.dataset.mark));
document.getElementById("previous").addEventListener("click", () => step(-1));
document.getElementById("next").addEventListener("click", () => step(1));
document.getElementById("close").addEventListener("click", () => player.close());
player.addEventListener("close", () => { screen.pause(); playing = null; });
player.addEventListener("keydown", event => {
  const act = { a: () => decide(playing, "approved"), r: () => decide(playing, "rejected"), n: () => step(1), p: () => step(-1) }[event.key];
  if (act && !event.ctrlKey && !event.metaKey && !event.altKey) act();
});
document.getElementById("save").addEventListener("click", () => {
  const text = JSON.stringify({ format: 1, batch: document.body.dataset.batch, decisions: [...marks.values()] }, null, 1);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text + "\n"], { type: "application/json" }));
  link.download = `${document.body.dataset.batch}.decisions.json`;
  link.click();
});
marked.forEach(chip => chip.addEventListener("click", () => {
  wantedMark = wantedMark === chip.dataset.marked ? null : chip.dataset.marked;
  marked.forEach(other => other.classList.toggle("on", other.dataset.marked === wantedMark));
  filter();
}));
showMarks();
chips.forEach(chip => chip.addEventListener("click", () => {
  status = chip.dataset.status;
  chips.forEach(other => other.classList.toggle("on", other === chip));
  filter();
}));
