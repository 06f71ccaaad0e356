"use strict";
/* All that is shown goes through textContent: nothing that others wrote is taken for markup. */
(() => {
const told = JSON.parse(document.getElementById("told").textContent);
const report = told.report || null;
const $ = (id) => document.getElementById(id);
const NONE = "–";

/* Elements: el("td", {class: "x"}, child, ...); texts become text nodes. */
function el(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}
function fill(place, ...children) { place.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined)); }

/* Words */
const known = (value) => value !== null && value !== undefined;
const count = (value) => known(value) ? Math.round(value).toLocaleString("en-US") : NONE;
function short(value) {
  if (!known(value)) return NONE;
  for (const [size, mark] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]])
    if (value >= size) return (value / (mark === "k" ? 1e3 : size)).toFixed(1) + (mark === "k" ? "k" : mark);
  return count(value);
}
function usd(value) {
  if (!known(value)) return NONE;
  if (value === 0) return "$0";
  if (value < 0.0001) return "<$0.0001";
  return "$" + value.toLocaleString("en-US", value < 1 ? {maximumSignificantDigits: 3, maximumFractionDigits: 4} : {minimumFractionDigits: 2, maximumFractionDigits: 2});
}
function seconds(value) {
  if (!known(value)) return NONE;
  if (value < 1) return Math.round(value * 1000) + " ms";
  if (value < 10) return value.toFixed(1) + " s";
  if (value < 120) return Math.round(value) + " s";
  const minutes = Math.round(value / 60);
  if (minutes < 120) return minutes + " min";
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? hours + " h " + (minutes % 60) + " min" : Math.round(hours / 24) + " days";
}
const moment = (wall) => known(wall) ? new Date(wall * 1000).toLocaleString("sv-SE") : NONE;
const clock = (wall) => new Date(wall * 1000).toLocaleTimeString("sv-SE");
const share = (part, whole) => whole ? (100 * part / whole).toFixed(part && part < whole / 100 ? 1 : 0) + " %" : NONE;
const bytes = (value) => value < 1e4 ? count(value) + " B" : value < 1e7 ? (value / 1e3).toFixed(0) + " kB" : (value / 1e6).toFixed(1) + " MB";

function table(columns, rows, open) {
  if (!rows.length) return el("p", {class: "empty"}, "Nothing yet.");
  const head = el("tr", {}, columns.map(([name, , kind]) => el("th", {scope: "col", class: kind}, name)));
  const body = rows.map((row) => {
    const cells = columns.map(([, of, kind]) => {
      const value = of(row);
      const shown = value instanceof Node || Array.isArray(value) ? value : String(value ?? "");
      return el("td", {class: kind}, kind && kind.includes("clamp") ? el("div", {}, shown) : shown);
    });
    const attributes = open ? {class: "open", tabindex: "0", click: () => open(row), keydown: (event) => { if (event.key === "Enter") open(row); }} : {};
    return el("tr", attributes, cells);
  });
  return el("div", {class: "table"}, el("table", {}, el("thead", {}, head), el("tbody", {}, body)));
}
function spark(values) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const most = Math.max(1, ...values), last = Math.max(1, values.length - 1);
  svg.setAttribute("class", "spark"); svg.setAttribute("viewBox", "0 0 100 20"); svg.setAttribute("preserveAspectRatio", "none"); svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  const step = Math.max(1, Math.ceil(values.length / 110)), points = [];
  for (let at = 0; at < values.length; at += step) points.push((100 * at / last).toFixed(1) + "," + (19 - 18 * Math.max(...values.slice(at, at + step)) / most).toFixed(1));
  path.setAttribute("d", points.length ? "M" + points.join("L") : "");
  svg.append(path);
  return svg;
}

/* What the server, or the report, tells */
async function ask(what, asked) {
  const query = new URLSearchParams(Object.entries(asked || {}).filter(([, value]) => known(value) && value !== ""));
  if (told.token) query.set("token", told.token);
  const reply = await fetch("api/" + what + "?" + query);
  const answer = reply.headers.get("content-type")?.includes("json") ? await reply.json() : {error: await reply.text()};
  if (!reply.ok) throw new Error(answer.error || reply.statusText);
  return answer;
}

/* The head */
const STATES = {running: "Running", stopping: "Stopping", starting: "Starting", finished: "Finished", stopped: "Stopped", died: "Died without a word: run it again to go on", "not begun": "Not begun"};
function figure(name, value, note) { return el("div", {}, el("dt", {}, name), el("dd", {}, value, el("small", {}, note || ""))); }
function rates(charts) {
  /* Over the last spans that hold about ten seconds. */
  if (!charts || !charts.times.length || !now || !now.is_on) return null;
  const spans = Math.max(1, Math.round(10 / charts.span_s)), from = Math.max(0, charts.times.length - spans);
  const behind = now.now_s - (charts.times[charts.times.length - 1] + charts.span_s);
  const width = Math.max(1, spans * charts.span_s + Math.max(0, behind));
  const sum = (values) => values.slice(from).reduce((a, b) => a + b, 0) / width;
  return {answered: sum(charts.answered), refused: sum(charts.refused), lost: sum(charts.lost)};
}
const rate = (value) => value >= 100 ? count(value) : value >= 10 ? value.toFixed(0) : value.toFixed(1);
function drawHead() {
  const {state, work, money, calls} = now;
  $("title").textContent = now.title;
  document.title = (work.total ? Math.floor(100 * work.finished / work.total) + " % " : "") + now.title;
  const since = known(state.ended_s) && !now.is_on ? "took " + seconds(state.ended_s - state.since_s) + ", ended " + moment(state.ended_s) : known(state.since_s) ? "for " + seconds((now.is_on ? now.now_s : state.told_s || now.now_s) - state.since_s) + ", since " + moment(state.since_s) : "";
  fill($("state"), el("span", {class: "dot"}), el("b", {}, STATES[state.word] || state.word), " " + since + (state.why ? ": " + state.why : "") + (report ? " (as of " + moment(now.now_s) + ")" : ""));
  $("state").className = state.word.replace(" ", "-");
  const failed = work.total ? 100 * work.failed / work.total : 0, done = work.total ? 100 * work.finished / work.total : 0;
  const [good, bad] = $("bar").children;
  good.style.width = Math.max(0, done - failed) + "%"; bad.style.width = failed + "%";
  $("bar").setAttribute("aria-valuenow", Math.round(done));
  const waiting = $("waiting");
  waiting.hidden = !now.waiting;
  if (now.waiting) fill(waiting, el("b", {}, "Waiting: "), now.waiting, known(now.waiting_until_s) ? "; until " + clock(now.waiting_until_s) + ", " + seconds(Math.max(0, now.waiting_until_s - now.now_s)) + " to go" : "");
  const pace = rates(charts), unit = work.unit === "line" ? "Lines" : now.is_batch_folder ? "Batch files" : "Files";
  const maybe = money.maybe_calls ? count(money.maybe_calls) + (now.is_on ? " in flight or lost" : " without an answer") : "nothing in doubt";
  fill($("figures"),
    figure(unit, count(work.finished), work.total ? "of " + count(work.total) + (work.failed ? ", " + count(work.failed) + " failed" : "") : ""),
    figure("Left", now.is_on ? (known(work.eta_s) ? seconds(work.eta_s) : NONE) : NONE, known(work.eta_s) ? "done at " + clock(now.now_s + work.eta_s) : now.is_on ? "no pace yet" : ""),
    figure("Cost so far", money.is_known ? usd(money.known_usd) : "unknown", money.unpriced ? count(money.unpriced) + " without a price" : "this run " + usd(money.this_run_usd)),
    figure("Projected", usd(money.projected_usd), known(money.cap_usd) ? "cap " + usd(money.cap_usd) : "no cap"),
    figure("Maybe billed", usd(money.maybe_usd), maybe),
    figure("Answered", pace ? rate(pace.answered) + "/s" : count(calls.answered), pace ? count(calls.answered) + " in all" : "of " + count(calls.sent) + " sent"),
    figure("Refused", pace ? rate(pace.refused) + "/s" : count(total("refused")), pace ? count(total("refused")) + " in all" : "limits, errors"),
    figure("Lost", pace ? rate(pace.lost) + "/s" : count(total("lost")), pace ? count(total("lost")) + " in all" : "maybe billed"));
}
const total = (name) => charts ? charts[name].reduce((a, b) => a + b, 0) : 0;

/* Charts */
const plots = {};
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
function plot(place, series, values, format) {
  const node = $(place), width = Math.max(180, node.clientWidth), height = 150;
  const key = width + ":" + series.map((one) => one.label).join() + matchMedia("(prefers-color-scheme: dark)").matches;
  if (plots[place] && plots[place].key === key) { plots[place].plot.setData(values); return; }
  if (plots[place]) plots[place].plot.destroy();
  const axis = {stroke: color("--soft"), grid: {stroke: color("--line"), width: 1}, ticks: {show: false}, font: "11px system-ui"};
  const made = new uPlot({
    width, height, padding: [8, 6, 0, 0], cursor: {y: false, points: {size: 5}}, legend: {live: true},
    scales: {y: {range: (_, low, high) => [0, Math.max(high * 1.08, 1e-9)]}},
    axes: [{...axis, space: 70, size: 26, incrs: [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800], values: [[86400, "{YYYY}-{MM}-{DD}", null, null, null, null, null, null, 1], [3600, "{HH}:{mm}", null, null, null, null, null, null, 1], [60, "{HH}:{mm}", null, null, null, null, null, null, 1], [1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1]]}, {...axis, size: 46, values: (_, ticks) => ticks.map(format)}],
    series: [{label: "at", value: (_, at) => known(at) ? clock(at) : NONE}, ...series.map((one) => ({width: 1.5, points: {show: values[0].length < 3}, value: (_, v) => known(v) ? format(v) : NONE, ...one}))],
  }, values, node);
  plots[place] = {plot: made, key};
}
function drawCharts() {
  if (!charts || !charts.times.length) return;
  const span = charts.span_s, {times} = charts, a_second = (values) => values.map((value) => value / span);
  plot("chart-rate", [{label: "answered", stroke: color("--accent"), fill: color("--accent") + "22"}, {label: "refused", stroke: color("--warn")}, {label: "lost", stroke: color("--bad")}],
    [times, a_second(charts.answered), a_second(charts.refused), a_second(charts.lost)], (value) => value >= 1000 ? short(value) : +value.toFixed(2) + "");
  const cap = now.money.cap_usd, cost = [times, charts.cost], lines = [{label: "cost", stroke: color("--accent"), fill: color("--accent") + "22"}];
  if (known(cap)) { cost.push(times.map(() => cap)); lines.push({label: "cap", stroke: color("--bad"), dash: [5, 4]}); }
  plot("chart-cost", lines, cost, (value) => value >= 1 || value === 0 ? +value.toFixed(2) + "" : +value.toPrecision(2) + "");
  plot("chart-tokens", [{label: "tokens", stroke: color("--good"), fill: color("--good") + "22"}], [times, a_second(charts.tokens)], (value) => short(value));
}

/* The overview */
const KEY_CLASS = {alive: "good", cooling: "warn", "on trial": "warn", dropped: "bad"};
const KEY_STATE = (key) => [el("span", {class: "state " + (KEY_CLASS[key.state] || "")}, key.state), known(key.until_s) ? el("span", {class: "soft"}, " until " + clock(key.until_s)) : ""];
function drawOverview() {
  fill($("causes"), now.causes.length ? table([
    ["Files", (one) => count(one.files)],
    ["Cause", (one) => [el("span", {class: "name"}, one.kind), " ", one.message], "text wide clamp"],
    ["For example", (one) => one.example, "text"],
    ["Tries them again", (one) => [one.is_command ? el("code", {}, one.again) : one.again, one.aside ? el("div", {class: "soft"}, count(one.aside) + " put aside") : ""], "text"],
  ], now.causes, (one) => openFile(null, one.example)) : el("p", {class: "empty"}, "Nothing failed."));
  fill($("keys"), table([
    ["Key", (key) => el("span", {class: "name"}, key.name)],
    ["State", KEY_STATE, "text"],
    ["In flight", (key) => count(key.in_flight)], ["Answered", (key) => count(key.answered)], ["Limits", (key) => count(key.limits)],
    ["p50", (key) => seconds(key.p50)], ["p90", (key) => seconds(key.p90)], ["p99", (key) => seconds(key.p99)],
    ["Cost", (key) => usd(key.cost_usd)], ["Answers over time", (key) => spark(key.answers)],
    ["Why", (key) => key.reason, "text soft clamp"],
  ], now.keys));
  fill($("models"), table([
    ["Model", (model) => el("span", {class: "name"}, model.name)],
    ["Answered", (model) => count(model.answered)], ["Tokens in", (model) => short(model.prompt_tokens)], ["Tokens out", (model) => short(model.completion_tokens)],
    ["p50", (model) => seconds(model.p50)], ["p90", (model) => seconds(model.p90)], ["p99", (model) => seconds(model.p99)],
    ["Waited for a key", (model) => model.waited ? count(model.waited) + " calls" : NONE],
    ["wait p50", (model) => seconds(model.wait_p50)], ["wait p99", (model) => seconds(model.wait_p99)],
    ["For", (model) => Object.entries(model.reasons).map(([why, n]) => why + " " + count(n)).join(", "), "text soft"],
    ["Cost", (model) => usd(model.cost_usd)],
  ], now.models));
  const {batches, jobs} = now;
  fill($("jobs"), jobs.length || batches.batches || batches.queued ? [
    el("h2", {}, "Batches"),
    jobs.length ? table([["Input", (job) => job.path, "text"], ["Stage", (job) => job.stage, "text"], ["Batch", (job) => job.batch || NONE, "text"], ["Lines", (job) => count(job.lines)]], jobs)
      : el("p", {}, count(batches.batches) + " with " + count(batches.in_batches) + " calls at the provider, " + count(batches.queued) + " calls not sent yet, " + count(batches.suspended) + " files wait"),
  ] : []);
  options("model", now.models); options("key", now.keys);
}
function options(name, things) {
  const select = $("calls-form").elements[name], have = new Set([...select.options].map((one) => one.value));
  for (const thing of things) if (!have.has(thing.name)) select.append(el("option", {value: thing.name}, thing.name));
}

/* Files and calls */
const FILE_CLASS = {done: "good", failed: "bad", aside: "bad"}, FILE_WORD = {aside: "put aside", open: "begun", intent: "being moved"};
const fileColumns = [
  ["File", (file) => file.path, "text"], ["State", (file) => el("span", {class: "state " + (FILE_CLASS[file.state] || "")}, FILE_WORD[file.state] || file.state), "left"],
  ["Calls", (file) => count(file.calls)], ["Cost", (file) => usd(file.cost_usd)], ["Changed", (file) => moment(file.changed_s)],
  ["Failure", (file) => file.failure, "text soft clamp"],
];
const CALL_CLASS = {ok: "good", unusable: "warn", unknown: "bad", rejected: "bad", key_dead: "bad"};
const callEnd = (call) => el("span", {class: "state " + (call.ending ? CALL_CLASS[call.ending.kind] || "warn" : "")}, call.ending ? call.ending.kind : "no end");
const callColumns = [
  ["Sent", (call) => moment(call.started_s)], ["End", callEnd, "left"], ["Prompt", (call) => call.prompt ?? "not kept", "text clamp"],
  ["Answer", (call) => call.answer ?? (call.ending ? call.ending.message : ""), "text clamp"], ["File", (call) => call.file, "text soft clamp"], ["Model", (call) => call.model],
  ["Took", (call) => seconds(call.ending && call.ending.service_s)], ["Cost", (call) => usd(call.ending && call.ending.cost_usd)],
];
const contains = (text, part) => String(text || "").toLowerCase().includes(part.toLowerCase());
const asked = (form) => Object.fromEntries(new FormData(form));
let files = [], filesMore = null, calls = [], callsMore = null, search = 0;
async function showFiles(goOn) {
  const wanted = asked($("files-form"));
  let found;
  if (report) found = {files: report.files.filter((file) => (!wanted.state || file.state === wanted.state) && contains(file.path, wanted.text)).sort((a, b) => wanted.order ? (b.cost_usd || 0) - (a.cost_usd || 0) : 0), more: null};
  else found = await ask("files", {...wanted, after: goOn ? filesMore : null});
  files = goOn ? files.concat(found.files) : found.files;
  filesMore = found.more;
  fill($("files-list"), table(fileColumns, files, (file) => openFile(file.id, file.path)));
  $("files-more").hidden = filesMore === null;
}
async function showCalls(goOn) {
  const wanted = asked($("calls-form")), number = ++search;
  $("download").href = "calls.jsonl?" + new URLSearchParams(told.token ? {...wanted, token: told.token} : wanted);
  if (!goOn) { calls = []; callsMore = null; }
  const until = calls.length + 50;
  do {
    let found;
    if (report) found = {calls: report.calls.filter((call) => (!wanted.kind || (call.ending && call.ending.kind === wanted.kind)) && (!wanted.model || call.model === wanted.model) && (!wanted.key || call.key === wanted.key) && (!wanted.text || contains(call.prompt, wanted.text) || contains(call.answer, wanted.text) || contains(call.ending && call.ending.message, wanted.text))), more: null};
    else found = await ask("calls", {...wanted, before: callsMore});
    if (number !== search) return;
    calls = calls.concat(found.calls); callsMore = found.more;
    $("calls-state").textContent = callsMore !== null && wanted.text && calls.length < until ? "searching, " + count(callsMore) + " calls to go" : count(calls.length) + (callsMore !== null ? " and more" : calls.length === 1 ? " call" : " calls");
    fill($("calls-list"), calls.length || callsMore === null ? table(callColumns, calls.map(brief), (call) => openCall(call.id)) : []);
  } while (wanted.text && callsMore !== null && calls.length < until);
  $("calls-more").hidden = callsMore === null;
}
const cut = (text) => text && text.length > 160 ? text.slice(0, 159) + "…" : text;
const brief = (call) => ({...call, prompt: cut(call.prompt), answer: cut(call.answer)});

function dialog(title, ...body) {
  $("detail-title").textContent = title;
  fill($("detail-body"), ...body);
  if (!$("detail").open) $("detail").showModal();
}
const failure = (error) => dialog("That cannot be shown", el("p", {}, error.message));
async function openFile(id, path) {
  try {
    if (report || id === null) {
      const file = (report ? report.files : (await ask("files", {text: path})).files).find((one) => one.path === path);
      if (!file) return;
      if (report) { showFile(file, report.calls.filter((call) => call.file === path)); return; }
      id = file.id;
    }
    const [file, found] = await Promise.all([ask("file", {id}), ask("calls", {file: id})]);
    const whole = await Promise.all(found.calls.slice(0, 10).map((call) => ask("call", {id: call.id})));
    showFile(file, whole, found.calls.slice(10));
  } catch (error) { failure(error); }
}
function showFile(file, whole, others) {
  dialog(file.path,
    el("p", {class: "soft"}, (FILE_WORD[file.state] || file.state) + (file.failed_runs ? ", failed in " + count(file.failed_runs) + " runs" : "") + ", " + count(file.calls) + " calls, " + usd(file.cost_usd)),
    file.failure ? el("pre", {class: "bad"}, file.failure + (file.trace ? "\n\n" + file.trace : "")) : null,
    file.outputs && file.outputs.length ? [el("h2", {}, "Outputs"), ...file.outputs.map((one) => el("p", {}, one.path, el("span", {class: "soft"}, " " + bytes(one.size_bytes))))] : null,
    whole.length ? el("h2", {}, "Calls, the newest first") : null,
    ...whole.map((call) => el("div", {}, callWords(call), callTexts(call))),
    others && others.length ? table(callColumns, others, (call) => openCall(call.id)) : null);
}
function callWords(call) {
  const end = call.ending, parts = [call.model + " by " + call.key, moment(call.started_s)];
  if (call.waited_s >= 0.001) parts.push("waited " + seconds(call.waited_s) + (call.wait_reason ? " (" + call.wait_reason + ")" : ""));
  if (end && known(end.service_s)) parts.push("took " + seconds(end.service_s));
  if (end && known(end.prompt_tokens)) parts.push(count(end.prompt_tokens) + " + " + count(end.completion_tokens) + " tokens");
  if (end && known(end.cost_usd)) parts.push(usd(end.cost_usd));
  else if (!end && known(call.max_cost_usd)) parts.push("at most " + usd(call.max_cost_usd));
  if (end && end.finish_reason) parts.push(end.finish_reason);
  return el("p", {}, callEnd(call), " ", el("span", {class: "soft"}, parts.join(", ")), end && end.message ? el("span", {class: "bad"}, " " + end.message) : "");
}
const callTexts = (call) => [el("pre", {}, call.prompt ?? "(the request was not kept)"), known(call.answer) ? el("pre", {}, call.answer) : ""];
async function openCall(id) {
  try {
    const call = report ? report.calls.find((one) => one.id === id) : await ask("call", {id});
    dialog(call.file || "Call " + call.id, callWords(call), callTexts(call));
  } catch (error) { failure(error); }
}

/* Comparison and settings */
function drawCompare(rows) {
  if (!rows.length) { fill($("compare-list"), el("p", {class: "empty"}, "Name another output folder with --compare to see both side by side.")); return; }
  const model = (row, name) => row.models.map((one) => one.name + " " + seconds(one[name])).join(", ");
  const lines = [
    ["State", (row) => STATES[row.state.word] || row.state.word], ["Finished", (row) => count(row.work.finished) + " of " + count(row.work.total)], ["Failed", (row) => count(row.work.failed)],
    ["Cost", (row) => usd(row.money.known_usd)], ["Cost each", (row) => usd(row.work.finished ? row.money.known_usd / row.work.finished : null)], ["Maybe billed", (row) => usd(row.money.maybe_usd)],
    ["Sent", (row) => count(row.calls.sent)], ["Answered", (row) => count(row.ended.answered) + ", " + share(row.ended.answered, row.calls.sent)], ["Refused", (row) => count(row.ended.refused)], ["Lost", (row) => count(row.ended.lost)],
    ["Tokens in, out", (row) => short(row.calls.prompt_tokens) + ", " + short(row.calls.completion_tokens)], ["p50", (row) => model(row, "p50")], ["p90", (row) => model(row, "p90")],
  ];
  fill($("compare-list"), table([["", ([name]) => el("span", {class: "soft"}, name)], ...rows.map((row) => [row.title, ([, of]) => of(row)])], lines));
}
function drawSettings() {
  const pairs = (object) => Object.entries(object).map(([name, value]) => [name, Array.isArray(value) ? value.join(", ") : value === null ? "None" : String(value)]);
  fill($("settings-list"),
    el("h2", {}, "Settings of the last run"), table([["Setting", ([name]) => name], ["Value", ([, value]) => value, "text"]], pairs(now.settings)),
    el("h2", {}, "Runs"), table([["Run", (run) => count(run.number)], ["Began", (run) => moment(run.started_s)], ["Ended", (run) => moment(run.ended_s)], ["How", (run) => (run.how || "no end") + (run.stopped ? ": " + run.stopped : ""), "text"], ["Host", (run) => run.host]], now.runs));
}

/* Tabs */
const TABS = {overview: "Overview", files: "Files", calls: "Calls", compare: "Compare", settings: "Settings"};
let shown = "overview";
async function show(name) {
  shown = name;
  for (const tab of $("tabs").children) tab.setAttribute("aria-selected", String(tab.dataset.name === name));
  for (const part of Object.keys(TABS)) $(part).hidden = part !== name;
  try {
    if (name === "overview") drawCharts();
    if (name === "files") await showFiles(false);
    if (name === "calls" && !$("calls-form").hidden) await showCalls(false);
    if (name === "compare") drawCompare(report ? report.compare : await ask("compared"));
  } catch (error) { failure(error); }
}
function tabs() {
  fill($("tabs"), Object.entries(TABS).map(([name, word]) => el("button", {role: "tab", type: "button", "data-name": name, "aria-controls": name, "aria-selected": String(name === shown), click: () => show(name)}, word)));
  $("tabs").addEventListener("keydown", (event) => {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key], all = [...$("tabs").children], at = all.indexOf(document.activeElement);
    if (step && at >= 0) { const next = all[(at + step + all.length) % all.length]; next.focus(); show(next.dataset.name); }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/INPUT|SELECT|TEXTAREA/.test(document.activeElement.tagName) && !$("detail").open) { event.preventDefault(); show("calls"); $("calls-form").elements.text.focus(); }
  });
  for (const [form, again, more] of [["files-form", showFiles, "files-more"], ["calls-form", showCalls, "calls-more"]]) {
    $(form).addEventListener("submit", (event) => { event.preventDefault(); again(false).catch(failure); });
    $(more).addEventListener("click", () => again(true).catch(failure));
    for (const select of $(form).querySelectorAll("select")) select.addEventListener("change", () => again(false).catch(failure));
  }
  $("download").hidden = Boolean(report);
  $("calls-form").hidden = Boolean(report && !report.calls.length);
  if (report && !report.calls.length) $("calls").append(el("p", {class: "empty"}, "Prompts and answers were left out of this report; `report --calls N` puts the newest N calls into it."));
}

/* Life */
let now = report ? report.now : null, charts = report ? report.charts : null, turn = 0;
function draw() {
  if (!now) return;
  drawHead();
  if (shown === "overview") { drawOverview(); drawCharts(); }
  if (shown === "settings" || !turn) drawSettings();
  $("footer").textContent = now.place + (report ? "" : ", seen " + clock(now.now_s));
}
async function live() {
  try {
    if (!document.hidden || !now) {
      if (turn % 2 === 1 || (turn && !charts)) charts = await ask("charts");
      now = await ask("now");
      draw();
      turn += 1;
    }
  } catch (error) {
    fill($("state"), el("span", {class: "dot"}), el("b", {}, "No answer: "), error.message);
    $("state").className = "died";
  }
  setTimeout(live, !now || turn < 2 ? 50 : now.is_on ? 1000 : 5000);
}
tabs();
$("title").textContent = told.title || "";
if (report) draw(); else live();
let resizing = 0;
addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(() => shown === "overview" && drawCharts(), 150); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawCharts());
})();
