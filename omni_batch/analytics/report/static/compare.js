"use strict";
// Items on which two runs disagree, by the field they disagree in.
{
  const choice = document.getElementById("differing");
  const pairs = [...document.querySelectorAll("article.pair")];
  choice?.addEventListener("change", () => {
    for (const pair of pairs) pair.hidden = choice.value !== "" && !pair.dataset.fields.split(" ").includes(choice.value);
    const shown = pairs.filter((pair) => !pair.hidden).length;
    document.getElementById("found").textContent = `${shown} ${shown === 1 ? "item" : "items"}`;
  });
}
