// Lists clusters and draws one as a tree, from the public API only. Names come from servers and people, so they reach
// the page as text (textContent), never as markup.
"use strict";

const REFRESH_MS = 2000;
const prefix = document.querySelector('meta[name="url-prefix"]').content;
const status = document.getElementById("status");

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

async function read(path) {
  const reply = await fetch(prefix + "/api/v2" + path, { headers: { Accept: "application/json" } });
  const body = await reply.json();
  if (!reply.ok) throw new Error(body.detail || body.title || "status " + reply.status);
  return body;
}

function chosen() {
  return decodeURIComponent(location.hash.slice(1));
}

function count(number, one, many) {
  return number + " " + (number === 1 ? one : many);
}

function showClusters(clusters, current) {
  const list = document.getElementById("clusters");
  const items = clusters.map((cluster) => {
    const item = element("li");
    const link = element("a", cluster.name === current ? "current" : "", cluster.alias);
    link.href = "#" + encodeURIComponent(cluster.name);
    if (cluster.name === current) link.setAttribute("aria-current", "true");
    item.append(link, element("span", "count", count(cluster.instance_count, "instance", "instances")));
    if (cluster.problem_count > 0) {
      item.append(element("span", "problem", count(cluster.problem_count, "problem", "problems")));
    }
    return item;
  });
  if (items.length === 0) {
    items.push(element("li", "hint", "None yet. Discover one: orchestrator submit discover -i host:port"));
  }
  list.replaceChildren(...items);
}

// Children below the server they replicate from; whoever's source is unknown is at the top; in a ring somebody is.
function forest(instances) {
  const known = new Map(instances.map((one) => [one.key, one]));
  const children = new Map();
  const roots = [];
  for (const one of instances) {
    if (one.source && one.source !== one.key && known.has(one.source) && one.role !== "co_primary") {
      children.set(one.source, (children.get(one.source) || []).concat(one));
    } else {
      roots.push(one);
    }
  }
  const drawn = new Set();
  const branch = (one) => {
    drawn.add(one.key);
    return { one, below: (children.get(one.key) || []).filter((child) => !drawn.has(child.key)).map(branch) };
  };
  const trees = roots.map(branch);
  for (const one of instances) {
    if (!drawn.has(one.key)) trees.push(branch(one));
  }
  return trees;
}

function node(tree) {
  const one = tree.one;
  const item = element("li");
  const box = element("div", "instance " + (one.status === "ok" ? "ok" : "bad") + (one.is_downtimed ? " downtimed" : ""));
  box.append(element("span", "dot"), element("strong", "", one.key));
  if (one.alias) box.append(element("span", "alias", one.alias));
  const lag = one.lag_seconds === null ? "" : one.lag_seconds + "s lag";
  const facts = [one.flavor + " " + one.version, one.read_only ? "read-only" : "writable", lag, one.data_center];
  box.append(element("span", "facts", facts.filter((fact) => fact).join(" · ")));
  for (const problem of one.problems) box.append(element("span", "problem", problem.replaceAll("_", " ")));
  if (one.is_downtimed) box.append(element("span", "note", "downtimed"));
  item.append(box);
  if (tree.below.length > 0) {
    const list = element("ul");
    list.append(...tree.below.map(node));
    item.append(list);
  }
  return item;
}

function showTree(cluster, instances) {
  document.getElementById("cluster-title").textContent = cluster.alias;
  const facts = [cluster.alias === cluster.name ? "" : cluster.name, cluster.domain,
    cluster.primary ? "primary " + cluster.primary : "no primary known"];
  document.getElementById("cluster-facts").textContent = facts.filter((fact) => fact).join(" · ");
  const list = element("ul", "tree");
  list.append(...forest(instances).map(node));
  document.getElementById("tree").replaceChildren(list);
}

async function refresh() {
  const clusters = (await read("/clusters")).items;
  const current = clusters.find((cluster) => cluster.name === chosen()) || clusters[0];
  showClusters(clusters, current && current.name);
  if (current) {
    const members = await read("/clusters/" + encodeURIComponent(current.name) + "/instances");
    showTree(current, members.items);
  } else {
    document.getElementById("tree").replaceChildren();
  }
  status.className = "";
  status.textContent = "As of " + new Date().toLocaleTimeString();
}

async function tick() {
  try {
    await refresh();
  } catch (error) {
    status.className = "bad";
    status.textContent = "Cannot read the API: " + error.message;
  }
}

async function forever() {
  for (;;) {
    const begun = performance.now();
    if (!document.hidden) await tick();
    // A large fleet takes longer to read: viewers must not keep the service busy with that.
    const pause = Math.max(REFRESH_MS, 5 * (performance.now() - begun));
    await new Promise((done) => setTimeout(done, pause));
  }
}

addEventListener("hashchange", tick);
forever();
