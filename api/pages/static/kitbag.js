// What the pages do beyond plain HTML. Text from the server is only ever set as text.
"use strict";

function later(run, delayMs) {
  let timer;
  return (...given) => { clearTimeout(timer); timer = setTimeout(() => run(...given), delayMs); };
}

function copyButtons() {
  for (const button of document.querySelectorAll(".copyable .copy")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.previousElementSibling.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }
}

function filters() {
  for (const input of document.querySelectorAll("input[data-filters]")) {
    const rows = document.getElementById(input.dataset.filters).tBodies[0].rows;
    input.closest(".filter").hidden = false;
    input.addEventListener("input", () => {
      const wanted = input.value.trim().toLowerCase();
      for (const row of rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
    });
  }
}

// A build under way: its events as they come, then the page as it is at the end.
function followBuild() {
  const log = document.getElementById("log");
  if (!log || !log.dataset.follow) return;
  const source = new EventSource(`${log.dataset.follow}?after=${log.dataset.after}`);
  const progress = document.getElementById("progress");
  const add = (event) => {
    const told = JSON.parse(event.data);
    const line = document.createElement("li");
    line.className = told.kind;
    const time = document.createElement("time");
    time.dateTime = told.at;
    time.textContent = new Date(told.at).toISOString().slice(11, 19);
    const text = document.createElement("span");
    text.textContent = told.message;
    line.append(time, " ", text);
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(line);
    if (atEnd) log.scrollTop = log.scrollHeight;
    return told;
  };
  const reach = (state) => {
    const phases = [...document.querySelectorAll("#phases li")];
    const at = phases.findIndex((phase) => phase.dataset.phase === state);
    if (at < 0) return;
    phases.forEach((phase, number) => {
      phase.className = number < at ? "over" : number === at ? "now" : "ahead";
      if (number === at) phase.setAttribute("aria-current", "step");
      else phase.removeAttribute("aria-current");
    });
    const shown = document.querySelector("#state .pill");
    shown.className = `pill ${state}`;
    shown.textContent = state;
  };
  for (const kind of ["log", "phase", "warning"]) source.addEventListener(kind, add);
  source.addEventListener("state", (event) => { reach(add(event).data.state); });
  source.addEventListener("progress", (event) => {
    progress.textContent = JSON.parse(event.data).message;
  });
  source.addEventListener("done", () => { source.close(); location.reload(); });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) {
      progress.textContent = "The server does not answer; load the page again to go on.";
    }
  });
}

function newForm() {
  const form = document.getElementById("new");
  if (!form) return;
  const parts = form.querySelectorAll("[data-kind]");
  const choose = () => {
    const kind = form.elements.kind.value;
    for (const part of parts) part.hidden = part.dataset.kind !== kind;
  };
  choose();
  const plan = document.getElementById("plan");
  let asked = 0;
  const ask = later(async () => {
    const enough = form.elements.kind.value === "git"
      ? form.elements.url.value.trim() : form.elements.packages.value.trim();
    if (!enough || !(form.elements.name.value.trim() || form.elements.kind.value === "git")) return;
    const number = ++asked;
    plan.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(plan.dataset.plan, {
        method: "POST", body: new URLSearchParams(new FormData(form)),
      });
      // Our own template, which escapes every value.
      if (number === asked && answer.ok) plan.innerHTML = await answer.text();
    } finally {
      if (number === asked) plan.removeAttribute("aria-busy");
    }
  }, 600);
  form.addEventListener("input", () => { choose(); ask(); });
  if (plan.childElementCount === 0) ask();
  complete(form.elements.packages);
}

// Names that fit the line under way, as buttons below the text.
function complete(area) {
  const list = document.createElement("ul");
  list.className = "complete";
  list.setAttribute("aria-label", "Packages that fit");
  area.after(list);
  const line = () => {
    const start = area.value.lastIndexOf("\n", area.selectionStart - 1) + 1;
    return [start, area.value.slice(start, area.selectionStart)];
  };
  area.addEventListener("input", later(async () => {
    const [start, typed] = line();
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]+$/.test(typed)) { list.replaceChildren(); return; }
    const answer = await fetch(`${area.dataset.complete}?q=${encodeURIComponent(typed)}`);
    if (!answer.ok || line()[1] !== typed) return;
    list.replaceChildren(...(await answer.json()).map((name) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.className = "plain";
      button.textContent = name;
      button.addEventListener("click", () => {
        area.setRangeText(`${name}\n`, start, start + typed.length, "end");
        list.replaceChildren();
        area.focus();
        area.dispatchEvent(new Event("input", { bubbles: true }));
      });
      item.append(button);
      return item;
    }));
  }, 150));
}

// "/" goes to the search or the filter, "n" to the form of a new environment.
function keys() {
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const field = document.querySelector("#q, #filter");
    if (event.key === "/" && field) { event.preventDefault(); field.focus(); }
    if (event.key === "n") location.assign("/new");
  });
}

copyButtons();
filters();
followBuild();
newForm();
keys();
