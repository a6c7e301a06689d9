// Keeps the parts of a page that are marked data-live as the server has them, while it is looked at.
// Without this file every page is the same, and is current when it is loaded.
"use strict";
(() => {
  const address = document.body.dataset.live;
  if (!address || !window.EventSource) return;
  const stale = document.getElementById("stale");
  const parser = new DOMParser();
  const shown = new Map();
  let source = null;

  const update = (event) => {
    stale.hidden = true;
    const fresh = parser.parseFromString(event.data, "text/html");
    for (const old of document.querySelectorAll("[data-live][id]")) {
      const now = fresh.getElementById(old.id);
      if (!now || now.innerHTML === shown.get(old.id)) continue;
      // Who is reading a table or about to press something is not to be disturbed.
      if (old.contains(document.activeElement) && document.activeElement !== old) continue;
      if (old.matches(":active")) continue;
      shown.set(old.id, now.innerHTML);
      const open = [...old.querySelectorAll("details[open]")].map((each) => each.id);
      old.replaceChildren(...now.childNodes);
      for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    }
  };

  const follow = () => {
    if (document.hidden) {
      source?.close();
      source = null;
    } else if (!source) {
      source = new EventSource(address);
      source.addEventListener("pulse", update);
      source.addEventListener("error", () => {
        // A turn of the stream ends once a minute: only what stays away is worth a word.
        const failed = source;
        setTimeout(() => {
          if (failed === source && failed.readyState !== EventSource.OPEN) stale.hidden = false;
        }, 4000);
      });
    }
  };
  document.addEventListener("visibilitychange", follow);
  follow();
})();
