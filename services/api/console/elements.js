// Makes elements. Text stays text: nothing here parses markup.

const SVG = "http://www.w3.org/2000/svg";

// el("button#go.main", { disabled: true, onclick: f }, "Explain"); the properties can be left out.
export const el = (selector, ...parts) => build((name) => document.createElement(name), selector, parts);

export const svg = (selector, ...parts) =>
  build((name) => document.createElementNS(SVG, name), selector, parts);

export function replace(parent, ...children) {
  parent.replaceChildren(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return parent;
}

// Leaves equal text alone, which screen readers would announce again and selections would lose.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const button = (classes, label, onclick, properties) =>
  el(`button${classes}`, { type: "button", onclick, ...properties }, label);

// A labelled control; `id` is the control's.
export const field = (label, id, ...content) => el("div.field", el("label", { for: id }, label), content);

// A card with a heading; `beside` is shown next to the heading.
export const card = (id, title, beside, ...children) =>
  el("section.card", { "aria-labelledby": id }, el("div.card-head", el(`h2#${id}`, title), beside), children);

// Radio buttons side by side. `options` are pairs of value and label.
export function segments(properties, name, options, onChoose) {
  const choices = options.map(([value, label]) =>
    el("label", el("input", { type: "radio", name, value, onchange: () => onChoose(value) }), label),
  );
  return el("span.segments", { role: "radiogroup", ...properties }, choices);
}

// A scrollable table. `head` holds header texts, or pairs of text and class.
export function table(caption, head, rows, classes = "") {
  const columns = head.map((column) => {
    const [text, name] = [column].flat();
    return el("th", { scope: "col", class: name }, text);
  });
  const body = el("tbody", rows);
  const shown = el("table.data", el("caption.unseen", caption), el("thead", el("tr", columns)), body);
  return el(`div.scroll${classes}`, { tabindex: "0", role: "region", "aria-label": caption }, shown);
}

function build(create, selector, parts) {
  const [, name, id, classes] = /^(\w+)(?:#([\w-]+))?((?:\.[\w-]+)*)$/.exec(selector);
  const element = create(name);
  if (id) element.id = id;
  if (classes) element.setAttribute("class", classes.slice(1).replaceAll(".", " "));
  const properties = parts[0]?.constructor === Object ? parts[0] : null;
  for (const [property, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (property.startsWith("on")) element.addEventListener(property.slice(2), value);
    else element.setAttribute(property, value === true ? "" : value);
  }
  return replace(element, properties ? parts.slice(1) : parts);
}
