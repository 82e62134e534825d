// Keeps a page up to date: the server sends its changing part whenever that changes.
"use strict";
const live = document.getElementById("live");
const connection = document.getElementById("connection");
const search = document.getElementById("search");
let events, retry;

function follow() {
  clearTimeout(retry);
  events?.close();
  if (document.hidden) return;
  events = new EventSource(location.href);
  events.onopen = () => (connection.textContent = "");
  events.onmessage = ({ data }) => {
    // The link that has the focus keeps it.
    const focused = live.contains(document.activeElement) && document.activeElement.getAttribute("href");
    live.innerHTML = data;
    if (focused) live.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  };
  events.onerror = () => {
    connection.textContent = "Not up to date: the controller does not answer.";
    // A browser tries again by itself, unless the answer was an error.
    if (events.readyState === EventSource.CLOSED) retry = setTimeout(follow, 5000);
  };
}

function show() {
  const query = new URLSearchParams(new FormData(search));
  for (const [name, value] of [...query]) if (!value) query.delete(name);
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
  follow();
}

if (search) {
  let pause;
  const text = search.elements.q;
  search.addEventListener("submit", (event) => {
    event.preventDefault();
    live.focus();
  });
  search.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(show, 150);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== text) {
      event.preventDefault();
      text.select();
    } else if (event.key === "Escape") {
      search.elements.q.value = search.elements.state.value = "";
      show();
    }
  });
}

document.addEventListener("visibilitychange", follow);
follow();
