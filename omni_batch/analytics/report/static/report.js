"use strict";
// The list of items. Everything that comes from the run is set as text, never as HTML.
(() => {
  const PAGE = 25;
  const byId = (id) => document.getElementById(id);
  const read = (id) => JSON.parse(byId(id).textContent);
  const { fields, names, typed } = read("names");
  const pictures = read("pictures");
  const at = Object.fromEntries(fields.map((name, index) => [name, index]));
  const get = (record, name) => {
    const value = record[at[name]];
    return names[name] && value !== null ? names[name][value] : value;
  };
  // An item is a list of records: one for each variant and sample.
  const total = (item, ...members) =>
    members.flatMap((name) => item.map((record) => get(record, name) || 0)).reduce((sum, value) => sum + value, 0);
  const ORDERS = {
    tokens: (item) => total(item, "tokensIn", "tokensOut"),
    cost: (item) => total(item, "cost"),
    latency: (item) => total(item, "latency"),
    attempts: (item) => total(item, "attempts"),
  };
  const SEARCHED = ["id", "prompt", "answer", "message", "requestId", "cells"].map((name) => at[name]);

  const items = [];
  const byItem = new Map();
  let haystack = [];
  let shown = [];
  let page = 0;
  let complete = false;

  // --- reading ---

  const unpack = async (text) => {
    const raw = atob(text);
    const bytes = new Uint8Array(raw.length);
    for (let index = 0; index < raw.length; index += 1) bytes[index] = raw.charCodeAt(index);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).json();
  };

  const take = (record) => {
    const several = get(record, "variant") !== null || get(record, "sample") !== null;
    const known = several ? byItem.get(get(record, "id")) : undefined;
    if (known !== undefined) {
      items[known].push(record);
      haystack[known] = undefined;
      return;
    }
    if (several) byItem.set(get(record, "id"), items.length);
    items.push([record]);
  };

  const load = async () => {
    for (const pack of document.querySelectorAll("script.pack")) {
      (await unpack(pack.textContent)).forEach(take);
      pack.remove();
      if (items.length <= PAGE * 40) apply();
    }
    complete = true;
    apply();
    document.documentElement.dataset.loaded = "yes";
  };

  // --- choosing ---

  const filters = [...byId("filters").querySelectorAll("[id]")].map((control) => control.id);
  const chosen = () => Object.fromEntries(filters.map((id) => [id, byId(id).value.trim()]));

  const textOf = (index) => {
    haystack[index] ??= items[index].flatMap(
      (record) => SEARCHED.map((member) => [record[member] ?? ""].flat(2).join("\n")),
    ).join("\n").toLowerCase();
    return haystack[index];
  };

  const cell = (record, field) => (get(record, "cells") ?? [])[field] ?? null;
  const isSaid = (value, field) => (record) => {
    const said = cell(record, field);
    if (value === "missing") return get(record, "cells") !== null && said === null;
    return Array.isArray(said) ? said.includes(value.slice(1)) : said === value.slice(1);
  };
  const differ = (records, field) => {
    const said = records.map((record) => cell(record, field)).filter((value) => value !== null);
    return new Set(said.map((value) => JSON.stringify([value].flat().sort()))).size > 1;
  };
  // Whether answers that have one member in common, such as the variant, differ in one of the fields.
  const differs = (alike, wanted) => (item) => {
    const parts = new Map();
    for (const record of item) parts.set(get(record, alike), [...(parts.get(get(record, alike)) ?? []), record]);
    return [...parts.values()].some((records) => wanted.some((field) => differ(records, field)));
  };

  // What is chosen of single answers, all of which has to fit one of them; and what of whole items.
  const tests = (choice) => {
    const { status, modality, kind } = choice;
    const ofAnswers = [];
    const ofItems = [];
    if (status) ofAnswers.push((record) => (status === "succeeded") === Boolean(get(record, "succeeded")));
    if (modality) ofAnswers.push((record) => get(record, "modality") === modality);
    if (kind) ofAnswers.push((record) => get(record, "kind") === kind);
    for (const [id, value] of Object.entries(choice)) {
      const [what, which] = id.split("-");
      if (what === "field" && value) ofAnswers.push(isSaid(byId(id).value, Number(which)));
      if (what === "differ" && value) ofItems.push(differs(which, value.split(" ").map(Number)));
    }
    return { ofAnswers, ofItems };
  };

  const apply = () => {
    const choice = chosen();
    const words = choice.search.toLowerCase().split(/\s+/).filter(Boolean);
    const { ofAnswers, ofItems } = tests(choice);
    shown = [];
    items.forEach((item, index) => {
      if (!item.some((record) => ofAnswers.every((test) => test(record)))) return;
      if (!ofItems.every((test) => test(item))) return;
      if (words.length && !words.every((word) => textOf(index).includes(word))) return;
      shown.push(index);
    });
    const key = ORDERS[choice.order];
    if (key) shown.sort((a, b) => key(items[b]) - key(items[a]) || a - b);
    page = Math.min(page, lastPage());
    draw();
  };

  const lastPage = () => Math.max(0, Math.ceil(shown.length / PAGE) - 1);

  // --- drawing ---

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  };
  const whole = (value) => (value ?? null) === null ? null : value.toLocaleString("en-US");
  const seconds = (value) => {
    if ((value ?? null) === null) return null;
    if (value < 1) return `${Math.round(value * 1000)} ms`;
    if (value < 59.95) return `${value.toFixed(1)} s`;
    const rest = Math.round(value);
    return `${Math.floor(rest / 60)}:${String(rest % 60).padStart(2, "0")} min`;
  };
  const money = (item) => {
    const paid = item.filter((record) => get(record, "cost") !== null);
    const sums = [...new Set(paid.map((record) => get(record, "currency")))].map((currency) => {
      const cost = total(paid.filter((record) => get(record, "currency") === currency), "cost");
      return `${cost.toFixed(cost < 0.01 ? 6 : 4)} ${currency ?? ""}`;
    });
    return sums.length ? sums.join(" + ") : null;
  };
  const sum = (item, name) => item.every((record) => get(record, name) === null) ? null : total(item, name);

  const picture = ([kind, reference, link, number]) => {
    const source = number === null ? null : pictures[number];
    const local = link !== null && !/^https?:/.test(link) ? link : null;
    if (kind === "video" && local) {
      return make("video", {
        src: local, poster: source, controls: "", preload: source ? "none" : "metadata",
        "aria-label": `Video sent: ${reference}`,
      });
    }
    if (kind === "image" && (source || local)) {
      const image = make("img", { src: source || local, alt: `Image sent: ${reference}`, loading: "lazy" });
      image.addEventListener("error", () => image.replaceWith(make("span", { class: "plain" }, reference)));
      return link ? make("a", { href: link, target: "_blank", rel: "noreferrer" }, image) : image;
    }
    const name = link ? make("a", { href: link, target: "_blank", rel: "noreferrer" }, reference) : reference;
    return make("span", { class: "plain" }, name);
  };

  const player = (label, source) => make(
    "div", { class: "sound" }, make("audio", { src: source, controls: "", preload: "none", "aria-label": label }), label,
  );

  const media = (record) => {
    const all = get(record, "media");
    const rest = all.length && all[all.length - 1].length === 1 ? all[all.length - 1][0] : 0;
    const seen = all.filter((medium) => medium.length > 1 && !playable(medium));
    const box = make("div", { class: seen.length > 1 ? "pictures many" : "pictures" }, ...seen.map(picture));
    if (rest) box.append(make("span", { class: "plain" }, `and ${rest} more`));
    if (!box.childNodes.length) box.append(make("span", { class: "plain" }, get(record, "modality") ?? ""));
    return box;
  };
  const playable = ([kind, , link]) => kind === "audio" && link && !/^https?:/.test(link);

  const numbers = (item) => {
    const attempts = total(item, "attempts");
    const rows = [
      ["in", whole(sum(item, "tokensIn")), "tokens billed in"],
      ["out", whole(sum(item, "tokensOut")), "tokens billed out"],
      ["cost", money(item), "cost"],
      ["time", item.length > 1 ? null : seconds(get(item[0], "latency")), "from its turn to its end, waits included"],
      ["tries", attempts > item.length ? whole(attempts) : null, "HTTP exchanges"],
    ];
    return make("dl", {}, ...rows.filter((row) => row[1] !== null).map(([name, value, title]) => make(
      "div", { title }, make("dt", {}, name), make("dd", {}, value),
    )));
  };

  const state = (record) => make(
    "span", { class: get(record, "succeeded") ? "good" : "bad" },
    get(record, "succeeded") ? "succeeded" : `failed: ${get(record, "kind") ?? "unknown"}`,
  );
  const value = (said) => {
    if (said === null) return make("td", { class: "plain", title: "no value" }, "–");
    if (!Array.isArray(said)) return make("td", {}, said);
    if (!said.length) return make("td", { class: "plain" }, "an empty list");
    return make("td", {}, ...said.map((element) => make("span", { class: "chip" }, element)));
  };

  // What an answer is besides its cells.
  const message = (record) => get(record, "message") && make("p", { class: "error" }, get(record, "message"));
  const answer = (record) => {
    if (!get(record, "answer")) return null;
    const text = make("p", { class: "answer" }, get(record, "answer"));
    return get(record, "cells") ? make("details", {}, make("summary", {}, "as it was said"), text) : text;
  };
  const speech = (record) =>
    get(record, "wav") && player(`spoken answer, ${seconds(get(record, "speech"))}`, get(record, "wav"));

  const row = (name, records, content, marked) => {
    const line = make("tr", marked ? { class: "differs" } : {}, make("th", { scope: "row" }, name));
    line.append(...records.map(content));
    return line;
  };
  // Answers side by side, one column each; fields in which they differ are marked.
  const cells = (records) => {
    const lines = typed.map(({ name, isCompared }, field) => row(
      name, records, (record) => value(cell(record, field)), isCompared && differ(records, field),
    ));
    return records.some((record) => get(record, "cells")) ? lines : [];
  };
  const table = (records, lines) => {
    const all = make("table", { class: "cells" });
    if (records.length > 1) {
      const heads = records.map((record) => make("th", { scope: "col" }, answerName(record)));
      all.append(make("thead", {}, make("tr", {}, make("td", {}), ...heads)));
    }
    all.append(make("tbody", {}, ...lines));
    return make("div", { class: "scroll" }, all);
  };
  const answerName = (record) => {
    const sample = get(record, "sample");
    return [get(record, "variant"), sample === null ? null : `sample ${sample}`].filter(Boolean).join(", ");
  };
  const prompt = (record) => get(record, "prompt");
  const isShared = (records) => new Set(records.map(prompt)).size === 1;
  const besides = (records) => [
    ["state", state, records.some((record) => !get(record, "succeeded"))],
    ["prompt", prompt, !isShared(records)],
    ["why", message, records.some(message)],
    ["text", answer, records.some(answer)],
    ["speech", speech, records.some(speech)],
  ].filter(([, , isThere]) => isThere).map(
    ([name, part]) => row(name, records, (record) => make("td", {}, part(record) || "")),
  );

  const card = (item) => {
    const several = item.length > 1;
    const requestId = several ? null : get(item[0], "requestId");
    const head = make("div", { class: "head" },
      make("b", {}, get(item[0], "id")),
      several ? make("span", { class: "plain" }, `${item.length} answers`) : state(item[0]),
      !several && answerName(item[0]) ? make("span", { class: "plain" }, answerName(item[0])) : null,
      requestId ? make("span", { class: "plain" }, `request ${requestId}`) : null);
    const body = make("div", {}, head);
    if (prompt(item[0]) && isShared(item)) body.append(make("p", { class: "prompt" }, prompt(item[0])));
    for (const medium of get(item[0], "media").filter(playable)) {
      body.append(player(`sent: ${medium[1]}`, medium[2]));
    }
    if (several) {
      body.append(table(item, [...cells(item), ...besides(item)]));
    } else {
      if (message(item[0])) body.append(message(item[0]));
      const lines = cells(item);
      if (lines.length) body.append(table(item, lines));
      body.append(...[answer(item[0]), speech(item[0])].filter(Boolean));
    }
    return make("li", {}, media(item[0]), body, numbers(item));
  };

  const draw = () => {
    const first = page * PAGE;
    const visible = shown.slice(first, first + PAGE);
    byId("list").replaceChildren(...visible.map((index) => card(items[index])));
    const all = shown.length === items.length ? "" : `, chosen from ${whole(items.length)}`;
    byId("found").textContent = shown.length
      ? `${whole(first + 1)} to ${whole(first + visible.length)} of ${whole(shown.length)} items${all}${complete ? "" : "; reading on…"}`
      : complete ? (items.length ? "No item fits. Change the search or the filters." : "No item has a result yet.") : "Unpacking…";
    byId("page").textContent = `Page ${whole(page + 1)} of ${whole(lastPage() + 1)}`;
    byId("pager").hidden = shown.length <= PAGE;
    byId("previous").disabled = page === 0;
    byId("next").disabled = page === lastPage();
  };

  const turn = (to) => {
    const wanted = Math.max(0, Math.min(lastPage(), to));
    if (wanted === page) return;
    page = wanted;
    draw();
    byId("items").scrollIntoView();
  };

  // --- asking ---

  for (const name of ["modality", "kind"]) {
    byId(name).append(...[...names[name]].sort().map((value) => make("option", { value }, value)));
  }
  let timer = 0;
  byId("filters").addEventListener("input", (event) => {
    clearTimeout(timer);
    page = 0;
    timer = setTimeout(apply, event.target.id === "search" ? 120 : 0);
  });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("previous").addEventListener("click", () => turn(page - 1));
  byId("next").addEventListener("click", () => turn(page + 1));

  const KEYS = { ArrowLeft: () => page - 1, ArrowRight: () => page + 1 };
  const KEYS_IN_PAGER = { PageUp: () => page - 1, PageDown: () => page + 1, Home: () => 0, End: lastPage };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest?.("input, select, textarea, audio, video, .scroll");
    if (event.key === "/" && !typing) {
      event.preventDefault();
      byId("search").focus();
    } else if (event.key === "Escape" && event.target.id === "search") {
      event.target.blur();
    } else if (!typing) {
      const to = KEYS[event.key] ?? (event.target.closest?.("#pager") && KEYS_IN_PAGER[event.key]);
      if (to) { event.preventDefault(); turn(to()); }
    }
  });

  // "#kind=media_error" is a link to a choice.
  const follow = () => {
    const wanted = new URLSearchParams(location.hash.slice(1));
    if (!filters.some((id) => wanted.has(id))) return;
    for (const id of filters) byId(id).value = wanted.get(id) ?? "";
    page = 0;
    apply();
    byId("items").scrollIntoView();
  };
  addEventListener("hashchange", follow);

  load().then(follow, (error) => {
    byId("found").textContent = `The items can't be read by this browser: ${error.message}`;
  });
})();
