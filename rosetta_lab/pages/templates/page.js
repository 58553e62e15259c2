"use strict";
(() => {
  const form = document.getElementById("tools");
  if (!form) return; // nothing was found, nothing to sort

  const list = document.getElementById("list");
  const tiles = document.getElementById("tiles");
  const status = document.getElementById("status");
  const control = form.elements;
  const defaults = { sort: "score", model: "0", layer: "", evidence: "", min: control.min.min, q: "" };
  if (!control.evidence) delete defaults.evidence; // of a run without a null
  const rowFilter = document.head.appendChild(document.createElement("style"));

  const concepts = [...list.children].map((element, place) => ({
    element,
    tile: tiles.children[place],
    details: element.querySelector("details"),
    name: element.querySelector(".name"),
    classes: element.dataset.words.toLowerCase(),
    flagged: element.querySelector(".flag") !== null,
    neurons: [...element.querySelectorAll(".neuron")].map((neuron) => ({
      element: neuron,
      scores: neuron.dataset.r.split(" ").map(Number), // mean, then one per model
      at: neuron.dataset.at, // " model.layer model.layer "
      evidence: (neuron.dataset.e ?? "").split(" ").map(Number), // content, place, stability, q
      units: null,
    })),
  }));
  const total = concepts.reduce((sum, concept) => sum + concept.neurons.length, 0);
  const layerOf = (concept) => parseInt(concept.neurons[0].at.slice(3), 10);

  /* Search: every word must fit one unit of the neuron, or the concept's name or classes; a number
     is a channel. */
  function units(neuron) {
    neuron.units ??= [...neuron.element.querySelectorAll("code")].map((code) => ({
      channel: code.lastElementChild.textContent,
      name: `${code.closest(".row").querySelector("b").textContent} ${code.textContent}`.toLowerCase(),
    }));
    return neuron.units;
  }
  function found(neuron, words, concept) {
    const about = `${concept.name.textContent.toLowerCase()} ${concept.classes}`;
    const fits = (unit) => (word) => about.includes(word) ||
      (/^\d+$/.test(word) ? unit.channel === word : unit.name.includes(word));
    return !words.length || units(neuron).some((unit) => words.every(fits(unit)));
  }
  const kinds = {
    "": () => true,
    content: ([content, place]) => content >= place,
    place: ([content, place]) => content < place,
    stable: (evidence) => evidence[2] >= 0.8,
  };

  function apply() {
    const model = Number(control.model.value);
    const least = control.min.value === control.min.min ? -Infinity : Number(control.min.value);
    const layer = control.layer.value && ` ${control.layer.value} `;
    const kind = kinds[control.evidence?.value ?? ""];
    const words = control.q.value.toLowerCase().split(/[\s·]+/).filter(Boolean);
    let neuronsLeft = 0;
    let conceptsLeft = 0;
    for (const concept of concepts) {
      concept.best = -Infinity;
      let left = 0;
      concept.neurons.forEach((neuron, place) => {
        const score = neuron.scores[model];
        const show = score >= least && neuron.at.includes(layer) && kind(neuron.evidence) &&
          found(neuron, words, concept);
        neuron.element.hidden = !show;
        if (show) {
          left += 1;
          concept.best = Math.max(concept.best, score);
        }
        if (place === 0) concept.headless = !show;
      });
      concept.element.hidden = concept.tile.hidden = left === 0;
      conceptsLeft += left > 0;
      neuronsLeft += left;
      if (concept.details) fold(concept, left - !concept.headless);
    }
    sort(model);
    rowFilter.textContent = model ? `.row[data-m]:not([data-m="${model}"]){display:none}` : "";
    document.getElementById("what").textContent = model ? "r" : "Score";
    document.getElementById("least").value = Number(control.min.value).toFixed(2);
    // No-break spaces: the line may break at the comma only.
    status.textContent = [[conceptsLeft, concepts.length, "concepts"], [neuronsLeft, total, "neurons"]]
      .map(([left, all, what]) => `${left}\u00a0of\u00a0${all}\u00a0${what}`).join(", ");
  }

  /* The folded neurons of a concept: count those left, unfold where only they are left. */
  function fold(concept, inside) {
    const details = concept.details;
    details.hidden = inside <= 0;
    const noun = inside === 1 ? "neuron" : "neurons";
    details.querySelector(".more").textContent = `${inside} ${concept.headless ? "" : "more "}${noun}`;
    if (concept.headless && inside > 0 && !details.open) {
      details.open = true;
      concept.unfolded = true;
    } else if (!concept.headless && concept.unfolded) {
      details.open = false;
      concept.unfolded = false;
    }
  }

  function sort(model) {
    const byScore = (a, b) => b.best - a.best;
    const first = (concept) => concept.neurons[0].evidence;
    const orders = {
      score: byScore,
      size: (a, b) => b.neurons.length - a.neurons.length || byScore(a, b),
      layer: (a, b) => layerOf(a) - layerOf(b) || byScore(a, b),
      content: (a, b) => first(b)[0] - first(a)[0] || byScore(a, b),
      stability: (a, b) => first(b)[2] - first(a)[2] || byScore(a, b),
      q: (a, b) => first(a)[3] - first(b)[3] || byScore(a, b),
    };
    const order = [...concepts].sort(orders[control.sort.value]);
    if (order.every((concept, place) => concept.element === list.children[place])) return;
    list.append(...order.map((concept) => concept.element));
    tiles.append(...order.map((concept) => concept.tile));
  }

  /* The choices live in the address after "#", which works from disk too. */
  function save() {
    const state = new URLSearchParams();
    for (const [name, usual] of Object.entries(defaults)) {
      if (control[name].value !== usual) state.set(name, control[name].value);
    }
    const page = location.href.split("#")[0];
    history.replaceState(null, "", state.size ? `${page}#${state}` : page);
  }
  function restore(state) {
    for (const [name, usual] of Object.entries(defaults)) {
      control[name].value = state.get(name) ?? usual;
      const unknown = name === "min" ? isNaN(state.get(name)) : control[name].value === "";
      if (unknown) control[name].value = usual;
    }
    apply();
  }

  /* "#concept-7", "#neuron-12" are gone to, whatever hides them; others are choices. */
  rosetta.pageOf.reveal = (target) => {
    if (target.closest("[hidden]")) restore(new URLSearchParams());
  };
  function go() {
    const name = location.hash.slice(1);
    if (name.includes("=")) restore(new URLSearchParams(name));
  }

  /* Names that people give to concepts, kept by the browser; what the file says stands below them. */
  const dictionary = JSON.parse(document.getElementById("data").textContent).names;
  const key = `rosetta_lab names ${dictionary}`;
  const read = () => {
    try { return JSON.parse(localStorage.getItem(key)) ?? {}; } catch { return {}; }
  };
  const own = read();
  const number = (concept) => concept.element.id.replace("concept-", "");
  function named(concept) {
    const name = concept.name.textContent;
    const head = `Concept ${number(concept)}`;
    concept.tile.title = name ? `${head}: ${name}` : head;
    concept.element.querySelector(".rename").textContent = name ? "rename" : "name it";
    document.getElementById("save-names").hidden = !concepts.some((c) => c.name.textContent);
  }
  for (const concept of concepts) {
    if (number(concept) in own) concept.name.textContent = own[number(concept)];
    concept.element.querySelector(".rename").hidden = false;
    named(concept);
  }
  function rename(concept) {
    const field = rosetta.make("input", { className: "naming", value: concept.name.textContent,
      maxLength: 80, ariaLabel: `Name of concept ${number(concept)}` });
    const back = concept.element.querySelector(".rename");
    back.hidden = true;
    concept.name.replaceWith(field);
    field.focus();
    let done = false;
    const finish = (keep) => {
      if (done) return;
      done = true;
      if (keep) {
        own[number(concept)] = concept.name.textContent = field.value.trim();
        try { localStorage.setItem(key, JSON.stringify(own)); } catch { /* kept for now */ }
      }
      field.replaceWith(concept.name);
      back.hidden = false;
      named(concept);
      back.focus();
    };
    field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter" || event.key === "Escape") finish(event.key === "Enter");
    });
    field.addEventListener("blur", () => finish(true));
  }
  list.addEventListener("click", (event) => {
    const at = event.target.closest(".rename")?.closest(".concept");
    if (at) rename(concepts.find((concept) => concept.element === at));
  });
  document.getElementById("save-names").addEventListener("click", () => {
    const all = concepts.map((c) => ({ concept: +number(c), name: c.name.textContent }));
    const named = all.filter(({ name }) => name);
    const file = JSON.stringify(
      { schema: "rosetta_lab.names/1", dictionary, concepts: named }, null, 1);
    rosetta.make("a", { download: "names.json",
      href: `data:application/json;charset=utf-8,${encodeURIComponent(file)}` }).click();
  });

  function keepHeadroom() {
    const sticky = getComputedStyle(form).position === "sticky";
    document.body.style.setProperty("--tools", sticky ? `${form.offsetHeight}px` : "0px");
  }

  form.hidden = false;
  for (const event of ["input", "change"]) { // menus tell of a choice by the one or by both
    form.addEventListener(event, () => { apply(); save(); });
  }
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    restore(new URLSearchParams());
    save();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", go);
  restore(new URLSearchParams());
  keepHeadroom();
  new ResizeObserver(keepHeadroom).observe(form); // a longer status takes another line
  go();
})();
