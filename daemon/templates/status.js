"use strict";
// Reloads the page every few seconds, unless the reader stops it; says so when the daemon stopped writing it.
const PERIOD_MS = 4000, OLD_S = 150;
const button = document.getElementById("refresh"), old = document.getElementById("old");
let timer = 0;
function show() {
  const isStopped = location.hash === "#stopped";
  button.setAttribute("aria-pressed", String(isStopped));
  clearTimeout(timer);
  if (!isStopped) timer = setTimeout(reload, PERIOD_MS);
}
function reload() {
  // a hidden page need not load, and a selection must not vanish under the reader's hand
  if (document.hidden || String(getSelection())) timer = setTimeout(reload, PERIOD_MS);
  else location.reload();
}
button.addEventListener("click", () => {
  history.replaceState(null, "", location.hash === "#stopped" ? "#" : "#stopped");
  show();
});
button.hidden = false;
const age = Date.now() / 1000 - Number(old.dataset.written);
if (age > OLD_S) {
  old.hidden = false;
  old.querySelector("b").textContent = `${Math.round(age / 60)} minutes`;
}
document.querySelectorAll("time").forEach((time) => {
  const moment = new Date(time.dateTime), isToday = moment.toDateString() === new Date().toDateString();
  time.title = time.textContent;
  time.textContent = isToday ? moment.toLocaleTimeString() : moment.toLocaleString();
});
show();
