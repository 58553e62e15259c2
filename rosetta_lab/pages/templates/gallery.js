"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const form = document.getElementById("tools");
  const gallery = document.getElementById("gallery");
  const pages = document.getElementById("pages");
  const control = form.elements;
  const perPage = { pictures: data.runs.length > 1 ? 12 : 24, table: 100 };
  const fewRuns = 6; // so many have a place on every card, of those with a common baseline
  const figures = data.figures.map(([name, title, higher, digits]) => ({ name, title, higher, digits }));
  const runs = data.runs.map(([name, root]) => ({ name, root }));
  const comparing = data.baselines !== null;
  const baseline = (run) => data.baselines?.[run];
  const [target, image, difference, tuned] = data.files;
  const items = data.items.map(([id, label, values], place) => ({
    id, label, values, place, key: `${id} ${label}`.toLowerCase(),
  }));
  const byName = new Intl.Collator(undefined, { numeric: true });
  let shown = items;
  let first = 0;

  const make = rosetta.make;
  const address = (run, id, file) =>
    [runs[run].root, ...id.split("/").map(encodeURIComponent), file].join("/");
  function picture(run, id, file, alt) {
    const image = make("img", { loading: "lazy", decoding: "async", alt, tabIndex: 0,
      src: address(run, id, file) });
    image.setAttribute("role", "button");
    return image;
  }

  function gain(item, run, figure) {
    const value = item.values[run][figure];
    const base = item.values[baseline(run)][figure];
    if (value === null || base === null) return null;
    return figures[figure].higher ? value - base : base - value;
  }
  const text = (value, digits) => (value === null ? "–" : value.toFixed(digits).replace("-", "−"));
  const signed = (value, digits) => (value > 0 ? "+" : "") + text(value, digits);

  const run = () => Number(control.run?.value ?? 0);
  function visibleRuns() {
    const base = baseline(run());
    const group = runs.map((_, place) => place).filter((place) => baseline(place) === base);
    return group.length <= fewRuns ? group : group.filter((p) => p === base || p === run());
  }

  function gainMark(item, place, figure) {
    const value = comparing && place !== baseline(place) ? gain(item, place, figure) : null;
    if (value === null) return [];
    const kind = value > 0 ? "better" : value < 0 ? "worse" : "";
    return [" ", make("span", { className: kind }, signed(value, figures[figure].digits))];
  }
  function numbers(item, place) {
    const list = make("dl");
    figures.forEach((figure, f) => {
      const value = text(item.values[place][f], figure.digits);
      list.append(make("div", {}, make("dt", {}, figure.title),
        make("dd", {}, value, ...gainMark(item, place, f))));
    });
    return list;
  }
  const view = (caption, ...content) =>
    make("figure", { className: "view" }, make("figcaption", {}, caption), ...content);

  function card(item) {
    const title = make("h3", {}, item.id, item.label ? make("small", {}, " ", item.label) : "");
    const views = make("div", { className: "views" });
    const result = make("article", { className: "card" }, title, views);
    result.dataset.id = item.id;
    views.append(view("target", picture(0, item.id, target, `target ${item.id}`)));
    for (const place of visibleRuns()) {
      const name = runs[place].name;
      const inverted = picture(place, item.id, image, `inverted ${item.id}, ${name}`);
      const after = data.tuned[place]
        ? [picture(place, item.id, tuned, `tuned ${item.id}, ${name}`)] : [];
      const map = picture(place, item.id, difference, `difference of ${item.id}, ${name}`);
      if (runs.length > 1) {
        const caption = place === baseline(place) ? `${name} (baseline)` : name;
        views.append(view(caption, inverted, map, ...after, numbers(item, place)));
      } else {
        views.append(view("inverted", inverted), view("difference", map),
          ...after.map((picture) => view("tuned", picture)));
        result.append(numbers(item, place));
      }
    }
    return result;
  }

  function table(some) {
    const place = run();
    const heads = ["image", "class", ...figures.map((figure) => figure.title)];
    const head = make("tr", {}, ...heads.map((title) => make("th", { scope: "col" }, title)));
    const rows = some.map((item) => make("tr", {},
      make("th", { scope: "row" }, item.id),
      make("td", {}, item.label || "–"),
      ...figures.map((figure, f) => make("td", {}, text(item.values[place][f], figure.digits),
        ...gainMark(item, place, f)))));
    for (const row of rows) heads.forEach((title, at) => { row.cells[at].dataset.head = title; });
    const box = make("div", { className: "wide numbers", tabIndex: 0 },
      make("table", { className: "stacks" }, make("thead", {}, head), make("tbody", {}, ...rows)));
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", runs.length > 1 ? `Figures of ${runs[place].name}` : "Figures");
    return box;
  }

  function draw() {
    const size = perPage[control.view.value];
    const some = shown.slice(first, first + size);
    const content = control.view.value === "table" ? [table(some)] : some.map(card);
    gallery.className = control.view.value === "table" ? "" : runs.length > 1 ? "cards many" : "cards";
    gallery.style.setProperty("--views", visibleRuns().length + 1);
    gallery.style.setProperty("--columns", data.tuned[0] ? 4 : 3); // of a card with a single run
    gallery.replaceChildren(...content);
    rosetta.offer(gallery);
    pages.hidden = shown.length <= size;
    const count = (value) => value.toLocaleString("en");
    document.getElementById("place").textContent = shown.length
      ? `${count(first + 1)} to ${count(first + some.length)} of ${count(shown.length)}` : "";
    pages.firstElementChild.disabled = first === 0;
    pages.lastElementChild.disabled = first + size >= shown.length;
    document.getElementById("status").textContent =
      `${count(shown.length)} of ${count(items.length)} images`;
  }

  function order() {
    const sort = control.sort.value;
    if (sort === "given") return (a, b) => a.place - b.place;
    if (sort === "name") return (a, b) => byName.compare(a.id, b.id);
    const f = figures.findIndex((figure) => figure.name === sort);
    const gains = comparing && control.by.value === "gain";
    const sign = (gains || figures[f].higher ? 1 : -1) * (control.order.value === "best" ? 1 : -1);
    const value = (item) => (gains ? gain(item, run(), f) : item.values[run()][f]);
    return (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === null || y === null) return (x === null) - (y === null) || a.place - b.place;
      return sign * (y - x) || a.place - b.place;
    };
  }

  function apply() {
    const words = control.q.value.toLowerCase().split(/\s+/).filter(Boolean);
    const label = control.label?.value ?? "";
    shown = items
      .filter((item) => (!label || item.label === label) && words.every((w) => item.key.includes(w)))
      .sort(order());
    first = 0;
    draw();
  }

  /* The choices live in the address after "#", which works from disk too. */
  const named = [...control].filter((element) => element.name);
  const defaults = new Map(named.map((element) => [element.name, element.value]));
  function save() {
    const state = new URLSearchParams();
    for (const element of named) {
      if (element.value !== defaults.get(element.name)) state.set(element.name, element.value);
    }
    const page = location.href.split("#")[0];
    history.replaceState(null, "", state.size ? `${page}#${state}` : page);
  }
  function restore(state) {
    for (const element of named) {
      element.value = state.get(element.name) ?? defaults.get(element.name);
      if (element.tagName === "SELECT" && element.selectedIndex < 0) {
        element.value = defaults.get(element.name);
      }
    }
    apply();
  }

  form.hidden = false;
  form.addEventListener("input", () => { apply(); save(); });
  form.addEventListener("change", () => { apply(); save(); }); // some browsers tell of menus by it
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    restore(new URLSearchParams());
    save();
  });
  pages.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    first += Number(button.value) * perPage[control.view.value];
    draw();
    form.scrollIntoView();
  });
  addEventListener("hashchange", () => restore(new URLSearchParams(location.hash.slice(1))));
  restore(new URLSearchParams(location.hash.slice(1)));
})();
