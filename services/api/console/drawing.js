// Takes a drawing of our own server into the page: shapes and text, and nothing that could act.

const SHAPES = new Set([
  "svg",
  "g",
  "defs",
  "title",
  "desc",
  "rect",
  "path",
  "circle",
  "ellipse",
  "line",
  "polyline",
  "polygon",
  "text",
  "tspan",
  "clipPath",
  "linearGradient",
  "stop",
  "image",
  "use",
  "marker",
]);

export function adoptDrawing(text) {
  const parsed = new DOMParser().parseFromString(text, "image/svg+xml");
  const root = parsed.documentElement;
  if (root.localName !== "svg" || parsed.querySelector("parsererror"))
    throw new Error("The plot cannot be read.");
  for (const element of [root, ...root.querySelectorAll("*")]) {
    if (!SHAPES.has(element.localName)) element.remove();
    for (const { name, value } of [...element.attributes]) {
      if (
        name.startsWith("on") ||
        name === "style" ||
        (name.endsWith("href") && !/^(#|data:image\/png;)/.test(value))
      )
        element.removeAttribute(name);
    }
  }
  return document.adoptNode(root);
}
