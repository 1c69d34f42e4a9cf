"use strict";
// The list of items. Everything that comes from the run is set as text, never as HTML.
(() => {
  const PAGE = 25;
  const byId = (id) => document.getElementById(id);
  const read = (id) => JSON.parse(byId(id).textContent);
  const { fields, names } = read("names");
  const pictures = read("pictures");
  const at = Object.fromEntries(fields.map((name, index) => [name, index]));
  const get = (record, name) => {
    const value = record[at[name]];
    return names[name] && value !== null ? names[name][value] : value;
  };
  const ORDERS = {
    tokens: (record) => (get(record, "tokensIn") || 0) + (get(record, "tokensOut") || 0),
    cost: (record) => get(record, "cost") || 0,
    latency: (record) => get(record, "latency") || 0,
    attempts: (record) => get(record, "attempts") || 0,
  };
  const SEARCHED = ["id", "prompt", "answer", "message", "requestId"].map((name) => at[name]);

  const records = [];
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

  const load = async () => {
    for (const pack of document.querySelectorAll("script.pack")) {
      for (const record of await unpack(pack.textContent)) records.push(record);
      pack.remove();
      if (records.length <= PAGE * 40) apply();
    }
    complete = true;
    apply();
    document.documentElement.dataset.loaded = "yes";
  };

  // --- choosing ---

  const filters = ["search", "status", "modality", "kind", "order"];
  const chosen = () => Object.fromEntries(filters.map((id) => [id, byId(id).value.trim()]));

  const textOf = (index) => {
    haystack[index] ??= SEARCHED.map((field) => records[index][field] ?? "").join("\n").toLowerCase();
    return haystack[index];
  };

  const apply = () => {
    const { search, status, modality, kind, order } = chosen();
    const words = search.toLowerCase().split(/\s+/).filter(Boolean);
    shown = [];
    records.forEach((record, index) => {
      if (status && (status === "succeeded") !== Boolean(get(record, "succeeded"))) return;
      if (modality && get(record, "modality") !== modality) return;
      if (kind && get(record, "kind") !== kind) return;
      if (words.length && !words.every((word) => textOf(index).includes(word))) return;
      shown.push(index);
    });
    const key = ORDERS[order];
    if (key) shown.sort((a, b) => key(records[b]) - key(records[a]) || a - b);
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
  const money = (record) => {
    const cost = get(record, "cost");
    return cost === null ? null : `${cost.toFixed(cost < 0.01 ? 6 : 4)} ${get(record, "currency") ?? ""}`;
  };

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

  const numbers = (record) => {
    const attempts = get(record, "attempts");
    const rows = [
      ["in", whole(get(record, "tokensIn")), "tokens billed in"],
      ["out", whole(get(record, "tokensOut")), "tokens billed out"],
      ["cost", money(record), "cost"],
      ["time", seconds(get(record, "latency")), "from its turn to its end, waits included"],
      ["tries", attempts > 1 ? whole(attempts) : null, "HTTP exchanges"],
    ];
    return make("dl", {}, ...rows.filter((row) => row[1] !== null).map(([name, value, title]) => make(
      "div", { title }, make("dt", {}, name), make("dd", {}, value),
    )));
  };

  const card = (record) => {
    const succeeded = get(record, "succeeded");
    const kind = get(record, "kind");
    const requestId = get(record, "requestId");
    const head = make("div", { class: "head" },
      make("b", {}, get(record, "id")),
      make("span", { class: succeeded ? "good" : "bad" }, succeeded ? "succeeded" : `failed: ${kind ?? "unknown"}`),
      requestId ? make("span", { class: "plain" }, `request ${requestId}`) : null);
    const body = make("div", {}, head);
    const prompt = get(record, "prompt");
    if (prompt) body.append(make("p", { class: "prompt" }, prompt));
    for (const medium of get(record, "media").filter(playable)) {
      body.append(player(`sent: ${medium[1]}`, medium[2]));
    }
    if (get(record, "message")) body.append(make("p", { class: "error" }, get(record, "message")));
    if (get(record, "answer")) body.append(make("p", { class: "answer" }, get(record, "answer")));
    if (get(record, "wav")) body.append(player(`spoken answer, ${seconds(get(record, "speech"))}`, get(record, "wav")));
    return make("li", {}, media(record), body, numbers(record));
  };

  const draw = () => {
    const first = page * PAGE;
    const visible = shown.slice(first, first + PAGE);
    byId("list").replaceChildren(...visible.map((index) => card(records[index])));
    const all = shown.length === records.length ? "" : ` of ${whole(records.length)}`;
    byId("found").textContent = shown.length
      ? `${whole(first + 1)} to ${whole(first + visible.length)} of ${whole(shown.length)} items${all && `, chosen from ${whole(records.length)}`}${complete ? "" : "; reading on…"}`
      : complete ? (records.length ? "No item fits. Change the search or the filters." : "No item has a result yet.") : "Unpacking…";
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
