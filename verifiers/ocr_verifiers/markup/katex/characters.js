// LaTeX -> the characters that it prints and their places: [name, x, y] each, in the order of the source.
//
// A character is a letter, digit or sign, each letter of `\sin` too, or what a structure draws: the line of a fraction,
// the delimiters of \binom, a root, an accent. The parse tree gets a colour for each of them, and the colours are found
// again in KaTeX's HTML. x and y are the middle of a character, in em, in KaTeX's own fonts.

const CHILDREN = ["base", "sub", "sup", "numer", "denom", "index", "below", "body", "tag"]; // in the order of the source
const DRAWN = { sqrt: "\\sqrt", overline: "\\overline", underline: "\\underline", enclose: "\\boxed" };
const LABELLED = ["accent", "accentUnder", "horizBrace", "xArrow"];
const PLAIN = { "\\{": "{", "\\lbrace": "{", "\\}": "}", "\\rbrace": "}", "\\lbrack": "[", "\\rbrack": "]" };
const SINGLE = ["|", "\\vert", "\\lvert", "\\rvert"];
const DOUBLE = ["\\|", "\\Vert", "\\lVert", "\\rVert"];
const DOTS = ["\\ldots", "\\cdots", "\\mathellipsis", "\u2026", "\u22ef", "\\@cdots"];
const UNSEEN = ["phantom", "hphantom", "vphantom", "spacing", "kern", "cr", "rule"];

let names = []; // of the characters; null: the text that is printed
let marked = null; // the parse tree with colours

katex.__defineFunction({
  type: "marked",
  names: ["\\marked@tree"],
  props: { numArgs: 0 },
  handler: () => marked,
});

function delimiter(text) {
  if (SINGLE.includes(text)) return "|";
  if (DOUBLE.includes(text)) return "\u2225";
  if (text === "<" || text === "\\lt") return "\u27e8";
  if (text === ">" || text === "\\gt") return "\u27e9";
  return PLAIN[text] || text;
}

function nextColor(name) {
  names.push(name);
  return "#" + names.length.toString(16).padStart(6, "0");
}

function group(body, mode) {
  return { type: "ordgroup", mode, body };
}

function colored(node, color) {
  return { type: "color", mode: node.mode, color, body: [node] };
}

function markInside(node) {
  const copy = { ...node };
  for (const key of CHILDREN) {
    if (typeof node[key] === "object" && node[key] !== null) copy[key] = markAny(node[key]);
  }
  return copy;
}

function markAny(value) {
  if (Array.isArray(value)) return value.map(markAny);
  return value && typeof value.type === "string" ? mark(value) : value;
}

// The name of what a node draws besides its children; undefined: nothing.
function drawn(node) {
  if (node.type === "op" && node.symbol) return null;
  if (node.type === "genfrac") return node.hasBarLine ? "\\frac" : node.leftDelim ? "\\binom" : undefined;
  if (LABELLED.includes(node.type)) return node.label;
  return DRAWN[node.type];
}

function letters(text, mode) {
  return [...text].map((letter) => colored({ type: "textord", mode, text: letter }, nextColor(null)));
}

function mark(node) {
  if (UNSEEN.includes(node.type)) return node;
  switch (node.type) {
    case "mathord":
    case "textord":
    case "atom":
      return DOTS.includes(node.text) ? group(letters("...", node.mode), node.mode) : colored(node, nextColor(null));
    case "htmlmathml":
      return colored(node, nextColor(node.mathml[0].text || (node.mathml[0].body || [{}])[0].text || null));
    case "delimsizing":
    case "middle":
      return node.delim === "." ? node : colored(node, nextColor(delimiter(node.delim)));
    case "color":
      return group(markAny(node.body), node.mode);
    case "mathchoice":
      return group(markAny(node.display), node.mode);
    case "op":
      if (!node.symbol && node.name) {
        return { ...node, name: undefined, body: letters(node.name.slice(1), node.mode) };
      }
      break;
    case "leftright": {
      const color = nextColor(delimiter(node.left));
      const inside = markInside(node);
      inside.rightColor = nextColor(delimiter(node.right));
      return colored(inside, color);
    }
    case "tag":
      return group(markAny([...node.body, ...node.tag]), node.mode);
    case "supsub":
      if (node.base && node.base.type === "internal") return mark({ ...node, base: null }); // `\,^2`
      if (node.base && drawn(node.base) !== undefined) {
        // KaTeX looks at the type of the base: \sum takes limits.
        const color = nextColor(drawn(node.base));
        const base = markInside(node.base);
        return colored({ ...node, base, sub: markAny(node.sub), sup: markAny(node.sup) }, color);
      }
  }
  const name = drawn(node);
  if (name === undefined) return markInside(node);
  const color = nextColor(name);
  const inside = markInside(node);
  if (node.type === "genfrac") inside.size = "auto"; // \dfrac is \frac
  return colored(inside, color);
}

function charactersOf(latex, maxDepth) {
  expanded = 0;
  names = [];
  inTimes = false;
  try {
    const tree = katex.__parse(latex, { displayMode: true, throwOnError: true });
    marked = group(markAny(tree), "math");
    const html = katex.__renderToHTMLTree("\\marked@tree", { displayMode: true, throwOnError: true });
    if (depth(html) > 8 * maxDepth) return { error: "nested too deeply" };
    const boxes = names.map(() => null);
    for (const [text, x, y, width, color, rise] of display(find(html, "katex-html"))) {
      const at = color ? parseInt(color.slice(1), 16) - 1 : -1;
      if (at < 0) continue;
      const box = boxes[at] || (boxes[at] = { text: "", left: x, right: x, top: y - rise, bottom: y - rise });
      box.text += text.trim();
      box.left = Math.min(box.left, x);
      box.right = Math.max(box.right, x + width);
      box.top = Math.min(box.top, y - rise);
      box.bottom = Math.max(box.bottom, y - rise);
    }
    const characters = [];
    boxes.forEach((box, at) => {
      if (box === null || !(names[at] || box.text)) return;
      const middle = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
      characters.push([names[at] || box.text, middle[0] / PIXELS, middle[1] / PIXELS]);
    });
    return { characters };
  } catch (error) {
    return { error: String((error && error.message) || error) };
  } finally {
    marked = null;
    inTimes = true;
  }
}
