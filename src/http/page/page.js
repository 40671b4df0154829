// Shows what status.json says, every two seconds. Whatever comes from there is put in as text, never as markup.
"use strict";

const EVERY = 2000;
const PATIENCE = 8000;
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

// Sets a text where it differs, so that what somebody has selected stays selected.
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function make(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

// Has as many children as there are items, and lets each be filled in.
function fill(parent, items, make, set) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  items.forEach((item, index) => {
    if (index >= parent.children.length) parent.append(make());
    set(parent.children[index], item);
  });
}

function span(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([length]) => seconds >= length);
  if (first < 0) return "0 s";
  const [length, unit] = parts[first];
  const next = parts[first + 1];
  const rest = next ? Math.floor((seconds % length) / next[0]) : 0;
  return `${Math.floor(seconds / length)} ${unit}` + (rest > 0 ? ` ${rest} ${next[1]}` : "");
}

const since = (then, now) => span(Math.max(0, Math.floor((Date.parse(now) - Date.parse(then)) / 1000))) + " ago";
const rate = (value) => (value < 10 ? String(Math.round(value * 10) / 10) : compact.format(Math.round(value)));

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let place = 0;
  while (count >= 1024 && place < units.length - 1) { count /= 1024; place += 1; }
  return `${place === 0 || count >= 100 ? Math.round(count) : count.toFixed(1)} ${units[place]}`;
}

// Rows of a table: each a list of texts, or of [text, more classes]; null is for what others fill in.
function table(id, classes, rows) {
  const body = byId(id).tBodies[0];
  const row = () => {
    const line = make("tr");
    classes.forEach(() => line.append(make("td")));
    return line;
  };
  fill(body, rows, row, (line, cells) => cells.forEach((cell, index) => {
    const [text, more] = Array.isArray(cell) ? cell : [cell, ""];
    const place = line.children[index];
    const wanted = [classes[index], more].filter(Boolean).join(" ");
    if (place.className !== wanted) place.className = wanted;
    if (text !== null) say(place, text);
  }));
  return body;
}

// The least of 1, 2, 5, 10, 20 ... that is not less.
function ceiling(value) {
  for (let step = 1; ; step *= 10) {
    for (const part of [1, 2, 5]) if (value <= part * step) return part * step;
  }
}

function showFlow(flow, monitors) {
  const { accepted, dropped, would_drop: spared, lost, samples } = flow;
  const passed = accepted.map((value, index) => value + spared[index]);
  const all = passed.map((value, index) => value + dropped[index]);
  const top = ceiling(Math.max(1, ...all, ...lost));
  const x = (index) => (300 * (samples - all.length + index + 1) / samples).toFixed(1);
  const y = (value) => (100 - 100 * value / top).toFixed(1);
  const line = (values) => values.map((value, index) => `${index ? "L" : "M"}${x(index)} ${y(value)}`).join("");
  const area = (values) => (values.length > 1 ? `${line(values)}L300 100L${x(0)} 100Z` : "");
  // Each area covers those behind it.
  byId("flow-dropped").setAttribute("d", area(all));
  byId("flow-spared").setAttribute("d", area(passed));
  byId("flow-accepted").setAttribute("d", area(accepted));
  byId("flow-lost").setAttribute("d", lost.some((value) => value > 0) ? line(lost) : "");
  const scale = byId("flow-scale").children;
  say(scale[0], compact.format(top));
  say(scale[1], compact.format(top / 2));
  const last = (values) => (values.length ? values[values.length - 1] : 0);
  const turned = monitors ? spared : dropped;
  const word = monitors ? "Would drop" : "Dropped";
  say(byId("now-accepted"), rate(last(accepted)));
  say(byId("now-dropped"), rate(last(turned)));
  say(byId("dropped-word"), word);
  byId("dropped-word").previousElementSibling.className = `key ${monitors ? "spared" : "dropped"}`;
  byId("flow").setAttribute("aria-label", "Verdicts per second over the last ten minutes. Now: accepted " +
    `${rate(last(accepted))}, ${word.toLowerCase()} ${rate(last(turned))}. Highest: ${rate(Math.max(0, ...all))}.`);
}

function showReasons(reasons) {
  fill(byId("reasons"), Object.entries(reasons), () => {
    const item = make("li");
    item.append(make("span"), " ", make("b"));
    return item;
  }, (item, [reason, count]) => {
    say(item.children[0], reason);
    say(item.children[1], number.format(count));
  });
}

// All knocks that hold a door, the one that does so longest first.
function held(door) {
  return (door.knocks || []).map((held) => held.knock).join(", ") || door.knock;
}

function showDoors(doors, stats, now) {
  say(byId("doors-open"), number.format(stats.doors.open));
  const called = stats.outbound ? stats.outbound.open : 0;
  say(byId("doors-max"), `of at most ${number.format(stats.doors.max)}` +
    (called > 0 ? `, and ${number.format(called)} outbound` : ""));
  table("doors", ["source", "", "number", "number medium", "number wide", "number medium", "number wide"],
    doors.rows.map((door) => [
      door.source, held(door),
      [span(door.expires_in_s), door.expires_in_s < 60 ? "soon" : ""],
      since(door.last_knock, now), since(door.opened, now),
      number.format(door.packets), bytes(door.bytes),
    ]));
  const more = doors.matching - doors.rows.length;
  let note = more > 0 ? `and ${number.format(more)} more` : "";
  if (doors.matching === 0) note = byId("filter").value ? "No open door matches." : "No door is open.";
  say(byId("doors-note"), note);
}

// A bar for each span, in one path.
function bars(values) {
  const top = Math.max(1, ...values);
  const width = 60;
  return values.map((value, index) => {
    if (value === 0) return "";
    const height = Math.max(1, 16 * value / top).toFixed(1);
    return `M${width - values.length + index} 16v-${height}h.8v${height}z`;
  }).join("");
}

function showKnocks(knocks) {
  const body = table("knocks", ["", "spark", "number", "number medium", "number medium", "number"],
    knocks.rows.map((row) => [
      row.knock, [null, ""], number.format(row.doors), number.format(row.opened), number.format(row.renewed),
      [number.format(row.refused), row.refused > 0 ? "alarm" : ""],
    ]));
  knocks.rows.forEach((row, index) => {
    const cell = body.rows[index].cells[1];
    let svg = cell.firstElementChild;
    if (!svg) {
      svg = document.createElementNS(SVG, "svg");
      svg.setAttribute("viewBox", "0 0 60 16");
      svg.setAttribute("preserveAspectRatio", "none");
      svg.setAttribute("role", "img");
      svg.append(document.createElementNS(SVG, "path"));
      cell.replaceChildren(svg);
    }
    const sum = row.recent.reduce((all, value) => all + value, 0);
    svg.setAttribute("aria-label", `${number.format(sum)} in the last hour`);
    svg.firstElementChild.setAttribute("d", bars(row.recent));
  });
  const more = knocks.all - knocks.rows.length;
  say(byId("knocks-note"), more > 0 ? `and ${number.format(more)} more, less busy` : "");
}

function showQueues(stats) {
  table("queues", ["", "number", "number", "number"], stats.queues.map((queue) => [
    String(queue.queue), number.format(queue.waiting),
    [number.format(queue.kernel_dropped), queue.kernel_dropped > 0 ? "alarm" : ""],
    [number.format(queue.socket_dropped), queue.socket_dropped > 0 ? "alarm" : ""],
  ]));
  const lost = stats.queues.reduce((sum, queue) => sum + queue.kernel_dropped + queue.socket_dropped, 0);
  say(byId("lost"), compact.format(lost));
  byId("lost").className = lost > 0 ? "alarm" : "";
  say(byId("lost-note"), lost > 0 ? "packets since the start: see Queues" : "packets since the start");
}

function showUpkeep(status) {
  const { stats, reloads } = status;
  const facts = [["Packets", number.format(stats.packets), false]];
  if (stats.state) {
    facts.push(["Doors kept in", stats.state.file, false]);
    facts.push(["Times written", number.format(stats.state.writes), false]);
    facts.push(["Times that failed", number.format(stats.state.failures), stats.state.failures > 0]);
  } else {
    facts.push(["Doors kept in", "nothing: they end with the gate", false]);
  }
  const [trunk] = stats.refused_trunks || [];
  if (trunk) {
    facts.push(["A trunk's call refused", `${trunk.source}, for ${trunk.user}: if it is your provider's, add it to trusted`, true]);
  }
  if (stats.rules) {
    const { rules } = stats;
    const inPlace = rules.watched && rules.families.every((family) => family.state === "in-place");
    const states = rules.families.map((family) => `${family.family} ${family.state}`).join(", ");
    facts.push(["Firewall rules", rules.watched ? states : "not known: nobody watches", !inPlace]);
    facts.push(["Rules put back", `${number.format(rules.restores)} times, ${(rules.missing_ms / 1000).toFixed(1)} s without`, rules.restores > 0]);
  }
  facts.push(["Reloads", `${reloads.done} done, ${reloads.failed} failed`, reloads.failed > 0]);
  facts.push(["Events not logged", number.format(stats.events_lost), stats.events_lost > 0]);
  const flat = facts.flatMap(([name, text, alarm]) => [["dt", name, ""], ["dd", text, alarm ? "alarm" : ""]]);
  const list = byId("upkeep");
  if (list.children.length !== flat.length) list.replaceChildren(...flat.map(([kind]) => make(kind)));
  flat.forEach(([, text, className], index) => {
    list.children[index].className = className;
    say(list.children[index], text);
  });
}

const KINDS = { opened: "good", renewed: "good", closed: "", dropped: "warn", refused: "bad", overload: "bad", warning: "bad", rules: "bad", "trunk-refused": "bad" };

function showEvents(events) {
  fill(byId("events"), events, () => {
    const item = make("li");
    item.append(make("time"), make("b"), make("p"));
    return item;
  }, (item, event) => {
    const [time, kind, text] = item.children;
    const at = new Date(event.time);
    const name = event.event || (event.level === "WARN" ? "warning" : "note");
    say(time, at.toLocaleTimeString("en-GB"));
    time.dateTime = event.time;
    time.title = event.time;
    say(kind, name);
    kind.className = KINDS[name] || "";
    const parts = [];
    const add = (value, label) => {
      if (value !== undefined && value !== null) parts.push([label || "", String(value)]);
    };
    const address = event.src && event.src.includes(":") && event.sport ? `[${event.src}]` : event.src;
    add(event.sport ? `${address}:${event.sport}` : address);
    for (const field of ["knock", "why", "limit", "state", "family", "by", "method", "place", "mode", "queues", "reasons", "detail", "message"]) add(event[field]);
    if (event.door_s !== undefined && name !== "closed") add(`for ${span(event.door_s)}`);
    if (name === "dropped") add(`in ${event.interval_s} s` + (event.established ? ", connected" : "") + (event.would ? ", would be dropped" : ""));
    if (name === "dropped") add(event.user, "user ");
    if (name === "overload") add(`${number.format(event.count)} lost`);
    add(event.from, "From ");
    add(event.user_agent, "User-Agent ");
    fill(text, parts, () => {
      const part = make("bdi");
      part.append(make("i"), make("span"));
      return part;
    }, (part, [label, value]) => {
      say(part.children[0], label);
      say(part.children[1], value);
    });
  });
}

function showHealth(faults) {
  const pill = byId("health");
  say(pill, faults.length === 0 ? "healthy" : "faulty");
  pill.className = `pill ${faults.length === 0 ? "good" : "bad"}`;
  byId("faults").hidden = faults.length === 0;
  fill(byId("faults"), faults, () => make("p"), (line, text) => say(line, text));
}

function show(status) {
  const { stats, now } = status;
  const monitors = stats.mode === "monitor";
  say(byId("mode"), monitors ? "monitor mode: nothing is dropped" : "enforcing");
  byId("mode").hidden = false;
  byId("mode").className = `pill ${monitors ? "bad" : "quiet"}`;
  say(byId("about"), `version ${stats.version}, up for ${span(stats.uptime_s)}`);
  showHealth(status.faults);
  showFlow(status.flow, monitors);
  showReasons(stats.reasons);
  showDoors(status.doors, stats, now);
  showKnocks(status.knocks);
  showQueues(stats);
  showUpkeep(status);
  showEvents(status.events);
  document.body.dataset.shown = String(Number(document.body.dataset.shown || 0) + 1);
}

function unreachable() {
  const pill = byId("health");
  say(pill, "not reachable");
  pill.className = "pill bad";
}

let timer;
let turn = 0;

async function look() {
  clearTimeout(timer);
  turn += 1;
  const mine = turn;
  const query = new URLSearchParams({ filter: byId("filter").value, sort: byId("sort").value });
  try {
    const answer = await fetch(`status.json?${query}`, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (!answer.ok) throw new Error(String(answer.status));
    const status = await answer.json();
    // Somebody has asked for something else meanwhile.
    if (mine !== turn) return;
    show(status);
  } catch {
    if (mine !== turn) return;
    unreachable();
  }
  if (!document.hidden) timer = setTimeout(look, EVERY);
}

byId("filter").addEventListener("input", look);
byId("sort").addEventListener("change", look);
byId("doors-form").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
look();
