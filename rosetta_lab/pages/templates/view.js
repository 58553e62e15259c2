"use strict";
/* What every page can do: land on links, say more when pointed at, show pictures large, save. */
const rosetta = (() => {
  /* Elements are made of text alone, never of HTML: names come from outside. */
  function make(kind, properties = {}, ...children) {
    const element = Object.assign(document.createElement(kind), properties);
    element.append(...children);
    return element;
  }
  const text = (element) => element?.textContent.replace(/\s+/g, " ").trim() ?? "";
  const every = (selector, root = document) => [...root.querySelectorAll(selector)];

  /* Links within the page. What is out of view has no size yet; going there gives what comes
     before its size, so go again until it stays where it is, or is scrolled. */
  let landing = 0;
  for (const event of ["wheel", "touchmove", "keydown"]) {
    addEventListener(event, () => { landing += 1; }, { passive: true });
  }
  function land(target) {
    const own = ++landing;
    let steady = 0;
    const step = (left) => {
      if (own !== landing) return;
      const before = target.getBoundingClientRect().top;
      target.scrollIntoView({ behavior: "instant", block: "start" });
      steady = Math.abs(target.getBoundingClientRect().top - before) < 1 ? steady + 1 : 0;
      if (left && steady < 5) requestAnimationFrame(() => step(left - 1));
    };
    step(60);
  }
  const pageOf = { reveal() {} }; // what a page's own script does before a target is gone to
  function go() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    pageOf.reveal(target);
    for (let at = target; (at = at.closest("details:not([open])")); ) at.open = true;
    land(target);
  }
  addEventListener("hashchange", go);
  document.addEventListener("click", (event) => { // the same link again changes no address
    if (event.target.closest(`a[href^="#"]`)?.hash === location.hash) go();
  });
  addEventListener("DOMContentLoaded", () => {
    if (document.getElementById(decodeURIComponent(location.hash.slice(1)))) {
      history.scrollRestoration = "manual";
    }
    go();
  });

  /* Said when pointed at, or when focused: what a term means, what stands behind a heatmap. */
  const tip = make("div", { className: "tip", id: "tip", hidden: true });
  tip.setAttribute("role", "tooltip");
  document.body.append(tip);
  const explained = (element) => element.closest?.("[data-tip], .strip");
  function lines(element) {
    if (element.dataset.tip) return element.dataset.tip;
    const row = element.closest(".row");
    if (!row) return "";
    const [model, r, unit, evidence] = ["b", "p > i", "code", ".evidence"].map((s) =>
      text(row.querySelector(s)));
    if (!unit) return "";
    const neuron = row.closest(".neuron")?.querySelector("h4 small");
    return [[model, unit].join(" · "), r && `r ${r}`, evidence, text(neuron),
      element.dataset.map && `map of ${element.dataset.map} cells`].filter(Boolean).join("\n");
  }
  let told = null;
  function tell(element) {
    const words = element && lines(element);
    told?.removeAttribute("aria-describedby");
    told = words ? element : null;
    tip.hidden = !words;
    if (!words) return;
    tip.textContent = words;
    (element.closest("dialog") ?? document.body).append(tip); // above what is modal
    if (element === document.activeElement) element.setAttribute("aria-describedby", "tip");
    const [at, own] = [element.getBoundingClientRect(), tip.getBoundingClientRect()];
    const left = Math.min(Math.max(8, at.left), innerWidth - own.width - 8);
    const below = at.bottom + 8 + own.height < innerHeight;
    const top = below ? at.bottom + 8 : Math.max(8, at.top - own.height - 8);
    Object.assign(tip.style, { left: `${Math.max(8, left)}px`, top: `${top}px` });
  }
  for (const event of ["pointerover", "focusin"]) {
    document.addEventListener(event, ({ target }) => {
      if (explained(target) !== told) tell(explained(target));
    });
  }
  document.addEventListener("focusout", () => tell(null));
  addEventListener("scroll", () => tell(told === document.activeElement ? told : null),
    { passive: true });
  addEventListener("keydown", (event) => { if (event.key === "Escape") tell(null); });

  /* Pictures side by side, large. A group is a card, or rows of one picture with its columns. */
  const title = make("h2", { id: "zoom-title" });
  const sides = make("div", { className: "sides" });
  const button = (name, label) =>
    make("button", { type: "button", value: name, ariaLabel: label },
      { previous: "‹", next: "›", close: "×" }[name]);
  const dialog = make("dialog", { className: "zoom" },
    make("div", { className: "bar" }, title, button("previous", "Previous"),
      button("next", "Next"), button("close", "Close")), sides);
  dialog.setAttribute("aria-labelledby", "zoom-title");
  dialog.querySelector("[value=next]").autofocus = true;
  document.body.append(dialog);
  let group = null;
  let column = 0;
  const within = (selector, root) =>
    every(selector, root).filter((e) => !e.closest("[hidden], details:not([open])"));
  const strips = (root) => every(".strip", root).filter((e) => e.checkVisibility());
  const GROUP = "[data-group], .card";
  const PICTURE = ".strip, .view img, .card > img";
  const property = (element, name) => getComputedStyle(element).getPropertyValue(name).trim();
  function columns() {
    const strip = group.querySelector(".strip");
    return strip ? Number(property(strip, "--columns")) : 1;
  }

  function saved(source, caption) {
    const kind = source.split(".").pop().toUpperCase();
    const name = source.split("/").slice(-2).map(decodeURIComponent).join("-");
    return make("a", { href: source, download: name, ariaLabel: `Save ${caption}` }, kind);
  }
  function cell(strip) {
    const image = strip.querySelector("img");
    const shown = make("span", { className: "cut" }, make("img", { src: image.src, alt: image.alt }));
    for (const name of ["--columns", "--rows", "--ratio"]) {
      shown.style.setProperty(name, property(strip, name));
    }
    shown.style.setProperty("--y", strip.style.getPropertyValue("--y"));
    shown.style.setProperty("--x", column);
    const said = lines(strip).split("\n");
    return make("figure", {}, shown, make("figcaption", {},
      make("b", {}, said[0] ||
        text(strip.closest(".row")?.querySelector("p, h4 a")) || image.alt),
      ...said.slice(1).map((line) => make("span", {}, line))));
  }
  function pane(view, image) {
    const several = view.querySelectorAll("img").length > 1;
    const caption = text(view.querySelector("figcaption"));
    const large = make("img", { src: image.src, alt: image.alt });
    if (image.classList.contains("cells")) large.className = "cells";
    const figures = view.querySelector("dl")?.cloneNode(true) ?? "";
    return make("figure", {}, large,
      make("figcaption", {}, make("b", {}, caption),
        make("span", {}, image.dataset.tip ?? (several ? image.alt : "")),
        several && image !== view.querySelector("img") ? "" : figures, saved(image.currentSrc || image.src, image.alt)));
  }
  function draw() {
    const rows = strips(group);
    const head = group.querySelector("h3 a, h4 a") ?? group.querySelector("h3, h4");
    const heading = group.dataset.group || text(head);
    const caption = group.querySelectorAll(".captions span")[column];
    title.replaceChildren([heading, text(caption)].filter(Boolean).join(": "));
    if (rows.length) {
      const picture = rows[0].querySelector("img");
      title.append(" ", make("small", {}, saved(picture.src, "the whole picture")));
      sides.replaceChildren(...rows.map(cell));
    } else {
      sides.replaceChildren(...every(PICTURE, group).map((image) =>
        pane(image.closest(".view, .card"), image)));
    }
  }
  function open(of, at = 0) {
    [group, column] = [of, at];
    draw();
    tell(null);
    if (!dialog.open) dialog.showModal();
  }
  function move(by) {
    const at = column + by;
    if (at >= 0 && at < columns()) return open(group, at);
    const groups = within(GROUP).filter((e) => e.querySelector(PICTURE));
    const next = groups[(groups.indexOf(group) + by + groups.length) % groups.length];
    open(next, by > 0 ? 0 : columns() - 1);
  }
  /* The tabulator leads to the first picture of a group, arrow keys to the others. */
  function reach(found, order) {
    if (found.hasAttribute("tabindex")) return;
    found.tabIndex = order;
    found.setAttribute("role", "button");
  }
  for (const of of every(GROUP)) {
    const found = of.querySelector(PICTURE);
    if (found) reach(found, 0);
  }
  const picture = (target) => target.closest?.(`:is(${GROUP}) :is(${PICTURE})`);
  document.addEventListener("click", (event) => {
    const found = picture(event.target);
    if (!found || dialog.contains(found)) return;
    const of = found.closest(GROUP);
    group = of;
    const box = found.getBoundingClientRect();
    const share = event.detail ? (event.clientX - box.left) / box.width : 0;
    const count = found.matches(".strip") ? columns() : 1;
    open(of, Math.min(count - 1, Math.max(0, Math.floor(share * count))));
  });
  document.addEventListener("keydown", (event) => {
    const found = !dialog.open && picture(event.target);
    if (dialog.open) {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (by) move(by);
    } else if (found && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      open(found.closest(GROUP));
    } else if (found && event.key.startsWith("Arrow")) {
      const of = within(PICTURE, found.closest(GROUP));
      const by = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
      const next = of[of.indexOf(found) + by];
      if (next) reach(next, -1);
      next?.focus();
      event.preventDefault();
    }
  });
  dialog.addEventListener("click", (event) => {
    const name = event.target.closest("button")?.value;
    if (name === "close" || event.target === dialog) dialog.close();
    else if (name) move(name === "next" ? 1 : -1);
  });
  let touched = 0;
  dialog.addEventListener("touchstart", (event) => { touched = event.touches[0].clientX; },
    { passive: true });
  dialog.addEventListener("touchend", (event) => {
    const by = event.changedTouches[0].clientX - touched;
    if (Math.abs(by) > 60) move(by < 0 ? 1 : -1);
  });

  /* Tables as CSV, charts as PNG. */
  function save(address, name) {
    make("a", { href: address, download: name }).click();
  }
  const named = (element, kind) => {
    const label = element.closest("[aria-label]")?.getAttribute("aria-label") ?? document.title;
    return `${label.replace(/[^\p{L}\p{N}]+/gu, "_").slice(0, 60)}.${kind}`;
  };
  /* A text that a spreadsheet would compute begins with one of these. */
  const field = (words) => {
    const plain = /^[=+\-@\t\uff1d\uff0b\uff0d\uff20]/.test(words) && !isFinite(words);
    return `"${(plain ? "'" : "") + words.replaceAll('"', '""')}"`;
  };
  function table(of) {
    const rows = [...of.rows].map((row) => [...row.cells].map((c) => field(text(c))).join(","));
    return `${rows.join("\n")}\n`;
  }
  const STYLES = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-size",
    "font-family", "font-weight"];
  function chart(of) {
    const copy = of.cloneNode(true);
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    const [from, to] = [of, copy].map((svg) => [svg, ...svg.querySelectorAll("*")]);
    from.forEach((element, place) => {
      const style = getComputedStyle(element);
      for (const name of STYLES) to[place].setAttribute(name, style.getPropertyValue(name));
    });
    const image = new Image();
    image.onload = () => {
      const canvas = make("canvas", { width: 3 * image.width, height: 3 * image.height });
      const paint = canvas.getContext("2d");
      paint.fillStyle = getComputedStyle(document.body).backgroundColor;
      paint.fillRect(0, 0, canvas.width, canvas.height);
      paint.drawImage(image, 0, 0, canvas.width, canvas.height);
      save(canvas.toDataURL("image/png"), named(of, "png"));
    };
    const xml = new XMLSerializer().serializeToString(copy);
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(xml)}`;
  }
  function offer(root) {
    for (const of of every(".wide table, .wide > svg", root)) {
      const kind = of.matches("table") ? "CSV" : "PNG";
      const own = make("button", { type: "button", className: "save" }, kind);
      own.setAttribute("aria-label", `Save ${named(of, kind.toLowerCase())}`);
      own.addEventListener("click", () => {
        if (kind === "PNG") return chart(of);
        save(`data:text/csv;charset=utf-8,${encodeURIComponent(table(of))}`, named(of, "csv"));
      });
      of.closest(".wide").after(own);
    }
  }
  offer(document);
  return { make, text, every, land, go, pageOf, offer, open };
})();
