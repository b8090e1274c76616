// Makes elements. Text stays text: nothing here parses markup.

// el("button#go.main", { disabled: true, onclick: f }, "Explain"); the properties can be left out.
export function el(selector, ...parts) {
  const [start, ...classes] = selector.split(".");
  const [name, id] = start.split("#");
  const element = document.createElement(name);
  if (id) element.id = id;
  if (classes.length) element.className = classes.join(" ");
  const properties = parts[0]?.constructor === Object ? parts.shift() : {};
  for (const [property, value] of Object.entries(properties)) {
    if (property.startsWith("on")) element.addEventListener(property.slice(2), value);
    else if (value || value === 0) element.setAttribute(property, value === true ? "" : value);
  }
  return replace(element, ...parts);
}

export function replace(parent, ...children) {
  parent.replaceChildren(...children.flat(Infinity).filter((child) => child || child === 0));
  return parent;
}

// Leaves equal text alone, which screen readers would announce again and selections would lose.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// A badge is a word with a coloured dot.
export function setBadge(badge, text, tone) {
  setText(badge, text);
  badge.dataset.tone = tone;
}

export const button = (classes, label, onclick, properties) =>
  el(`button${classes}`, { type: "button", onclick, ...properties }, label);

// A labelled control; `id` is the control's.
export const field = (label, id, ...content) => el("div.tight", el("label", { for: id }, label), content);

// A card with a heading; `beside` is shown next to the heading.
export const card = (id, title, beside, ...children) =>
  el(
    "section.card.stack",
    { "aria-labelledby": id },
    el("div.line", el(`h2#${id}`, title), beside),
    children,
  );

// Radio buttons side by side, the first one checked. `options` are pairs of value and label.
export function segments(properties, name, options, onChoose) {
  const choices = options.map(([value, label], place) => {
    const input = el("input.unseen", { type: "radio", name, value, checked: place === 0 });
    input.addEventListener("change", () => onChoose(value));
    return el("label", input, label);
  });
  return el("div.segments", { role: "radiogroup", ...properties }, choices);
}

// A scrollable table of texts.
export function table(classes, caption, head, rows) {
  const line = (name) => (cells) => {
    const elements = cells.map((cell) => el(name, String(cell)));
    return el("tr", elements);
  };
  const body = el("tbody", rows.map(line("td")));
  const shown = el("table", el("caption.unseen", caption), el("thead", line("th")(head)), body);
  return el(`div.scroll${classes}`, { tabindex: 0, role: "region", "aria-label": caption }, shown);
}
