"use strict";
// Runs in the head: the chosen colours stand before anything is painted.
{
  const root = document.documentElement;
  const memory = {
    // Storage may be forbidden to files; the choice then lasts as long as the page.
    get() { try { return localStorage.getItem("omni-batch-theme") || ""; } catch { return ""; } },
    set(theme) { try { localStorage.setItem("omni-batch-theme", theme); } catch { /* as above */ } },
  };
  const paint = (theme) => {
    if (theme) root.dataset.theme = theme; else delete root.dataset.theme;
  };
  paint(memory.get());

  addEventListener("DOMContentLoaded", () => {
    const choice = document.getElementById("theme");
    choice.value = memory.get();
    choice.addEventListener("change", () => { paint(choice.value); memory.set(choice.value); });

    // Every mark of a chart says in its label what it stands for.
    const tip = document.getElementById("tip");
    document.addEventListener("pointermove", (event) => {
      const mark = event.target.closest?.('.chart [role="graphics-symbol"][aria-label]');
      tip.hidden = !mark;
      if (!mark) return;
      tip.textContent = mark.getAttribute("aria-label");
      const left = Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8);
      tip.style.left = `${Math.max(4, left)}px`;
      tip.style.top = `${Math.max(4, event.clientY - tip.offsetHeight - 10)}px`;
    });
  });
}
