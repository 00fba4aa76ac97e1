// LaTeX -> [MathML, glyphs] by KaTeX, without a browser: JSON in, JSON out.
//
// A glyph is [text, x, y, width, color, rise] of an innermost <span> of KaTeX's HTML, in pixels at a font size of 24: x
// is its left edge, y the middle of its line, both from the start of the first baseline, y downwards; its own middle is
// `rise` above y. Lines and drawings are glyphs without text. The boxes follow katex.css 0.16.21 (inline
// boxes in a row, vertical lists, fractions centred). Widths are those of Times (times.js), else of KaTeX's own fonts,
// which are TeX's.

const PIXELS = 24 * 1.21; // .katex { font-size: 1.21em }
const SIZES = [0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.44, 1.728, 2.074, 2.488];
const MIDDLE = 0.3375; // of a line of text above its baseline, in em: (ascent - descent) / 2 of a Times face
const LINE_HEIGHT = 1.2;

function length(value, em) {
  if (!value) return 0;
  if (value.endsWith("em")) return parseFloat(value) * em;
  return value.endsWith("px") ? parseFloat(value) : 0;
}

function has(node, name) {
  return node.classes !== undefined && node.classes.includes(name);
}

// Document fragments, which have no attributes, leave no element behind: their children are their parent's.
function childrenOf(node) {
  const children = [];
  for (const child of node.children || []) {
    if (child.children !== undefined && child.attributes === undefined) children.push(...childrenOf(child));
    else children.push(child);
  }
  return children;
}

function isText(node) {
  return node.text !== undefined && node.children === undefined;
}

// KaTeX writes a symbol without style or class as bare text.
function isBare(node) {
  return isText(node) && !(node.italic > 0) && node.classes.length === 0 && Object.keys(node.style).length === 0;
}

const LINES = ["frac-line", "overline-line", "underline-line"];

function isDrawing(node) {
  return LINES.some((name) => has(node, name)) || node.children.some((child) => child.attributes && !child.classes);
}

function fontSize(node, em) {
  if (!has(node, "sizing")) return em;
  let from = 0;
  let to = 0;
  for (const name of node.classes) {
    const match = /^(reset-)?size(\d+)$/.exec(name);
    if (match) match[1] ? (from = SIZES[match[2] - 1]) : (to = SIZES[match[2] - 1]);
  }
  return from && to ? (em * to) / from : em;
}

function alignment(node, inherited) {
  if (has(node, "msupsub") || has(node, "svg-align") || has(node, "col-align-l")) return 0;
  if (has(node, "mfrac") || has(node, "op-limits") || has(node, "accent") || has(node, "col-align-c")) return 0.5;
  return has(node, "col-align-r") ? 1 : inherited;
}

function move(glyphs, x, y) {
  for (const glyph of glyphs) {
    glyph[1] += x;
    glyph[2] += y;
  }
}

let inTimes = true;

function textWidth(node, em) {
  const italic = ["mathnormal", "mathit", "textit", "boldsymbol"].some((name) => has(node, name));
  const bold = ["mathbf", "textbf", "boldsymbol"].some((name) => has(node, name));
  const widths = bold ? (italic ? TIMES.boldItalic : TIMES.bold) : italic ? TIMES.italic : TIMES.roman;
  const characters = [...node.text];
  const fromMetrics = characters.length === 1 && node.width ? 1000 * node.width : 500;
  let width = 0;
  for (const character of characters) {
    const code = OPERATORS.includes(character) ? 0x2b : character.codePointAt(0);
    width += (inTimes && widths[code - 0x20]) || fromMetrics;
  }
  return (width * em) / 1000;
}

// {width, left, right, glyphs}: the outer margins are left and right, x and y are from the left edge and the baseline.
function box(node, em, align) {
  const style = node.style || {};
  em = fontSize(node, em);
  align = alignment(node, align);
  const result = { width: 0, glyphs: [], left: length(style.marginLeft, em), right: length(style.marginRight, em) };
  if (isText(node)) {
    result.width = textWidth(node, em);
    const rise = ((node.height - node.depth) / 2 - MIDDLE) * em;
    if (!isBare(node)) result.glyphs.push([node.text, 0, -MIDDLE * em, result.width, style.color, rise]);
    result.right += Math.max(node.italic, 0) * em;
    return result;
  }
  const children = childrenOf(node);
  if (has(node, "vlist-t")) {
    stack(result, children[0].children[0].children, em, align);
  } else {
    row(result, children, em, align);
    if (isDrawing(node)) result.glyphs.push(["", 0, 0, 0, style.color, 0]);
  }
  decorate(result, node, style, em);
  return result;
}

function row(result, children, em, align) {
  const leaf = children.length > 0 && children.every(isBare);
  let text = "";
  for (const child of children) {
    if (child.children === undefined && child.text === undefined) continue; // a drawing
    if (leaf) text += child.text;
    const inner = box(child, em, align);
    move(inner.glyphs, result.width + inner.left, 0);
    result.glyphs.push(...inner.glyphs);
    result.width += inner.left + inner.width + inner.right;
  }
  if (leaf) result.glyphs.push([text, 0, -MIDDLE * em, result.width]);
}

// The items of a vertical list: each a strut, which puts its baseline, and the item itself.
function stack(result, items, em, align) {
  const boxes = items.map((item) => {
    const [strut, ...content] = childrenOf(item);
    const inner = { width: 0, glyphs: [] };
    row(inner, content, em, alignment(item, align));
    inner.left = length(item.style.marginLeft, em);
    inner.right = length(item.style.marginRight, em);
    inner.y = length(item.style.top, em) + length(strut.style.height, em);
    inner.align = alignment(item, align);
    return inner;
  });
  result.width = Math.max(0, ...boxes.map((inner) => inner.left + inner.width + inner.right));
  for (const inner of boxes) {
    const room = result.width - inner.left - inner.right - inner.width;
    move(inner.glyphs, inner.left + room * inner.align, inner.y);
    for (const glyph of inner.glyphs) {
      if (glyph[0] === "" && glyph[3] === 0) [glyph[1], glyph[3]] = [0, result.width]; // as wide as the list
    }
    result.glyphs.push(...inner.glyphs);
  }
}

function decorate(result, node, style, em) {
  const padding = has(node, "boxpad") ? 0.3 * em : has(node, "cancel-pad") ? 0.2 * em : length(style.paddingLeft, em);
  if (padding) {
    move(result.glyphs, padding, 0);
    result.width += style.paddingLeft ? padding : 2 * padding;
  }
  if (has(node, "nulldelimiter")) result.width = 0.12 * em;
  if (has(node, "root")) {
    result.left += 0.2777777778 * em;
    result.right -= 0.5555555556 * em;
  }
  if (has(node, "cancel-lap")) {
    result.left -= 0.2 * em;
    result.right -= 0.2 * em;
  }
  result.width = Math.max(result.width, length(style.minWidth, em)) + length(style.borderRightWidth, em);
  if (style.width && style.width.endsWith("em")) result.width = length(style.width, em);
  const shift = has(node, "llap") ? 1 : has(node, "clap") ? 0.5 : 0;
  if (shift) move(result.glyphs, -shift * result.width, 0);
  if (shift || has(node, "rlap") || has(node, "thinbox")) result.width = 0;
  if (has(node, "accent-body") && !has(node, "accent-full")) result.width = 0;
  if (style.top || style.left) move(result.glyphs, length(style.left, em), length(style.top, em));
}

// The glyphs of a display: lines are centred below each other, a \tag stands at the right end.
function display(html) {
  const lines = [[]];
  let tag = null;
  for (const part of html.children) {
    if (has(part, "newline")) lines.push([]);
    else if (has(part, "tag")) tag = part;
    else lines[lines.length - 1].push(part);
  }
  const glyphs = [];
  const laid = lines.map((parts) => {
    const line = { width: 0, glyphs: [], height: 0, depth: 0 };
    row(line, parts, PIXELS, 0);
    const struts = parts.map((part) => part.children[0]).filter((strut) => has(strut, "strut"));
    for (const strut of struts) {
      const below = -length(strut.style.verticalAlign, PIXELS);
      line.depth = Math.max(line.depth, below);
      line.height = Math.max(line.height, length(strut.style.height, PIXELS) - below);
    }
    return line;
  });
  const width = Math.max(...laid.map((line) => line.width));
  const above = (LINE_HEIGHT / 2 + MIDDLE) * PIXELS;
  const below = (LINE_HEIGHT / 2 - MIDDLE) * PIXELS;
  let y = 0;
  laid.forEach((line, i) => {
    if (i > 0) y += Math.max(laid[i - 1].depth, below) + Math.max(line.height, above);
    move(line.glyphs, (width - line.width) / 2, y);
    glyphs.push(...line.glyphs);
  });
  if (tag) {
    const inner = box(tag, PIXELS, 0);
    move(inner.glyphs, width - inner.width, 0);
    glyphs.push(...inner.glyphs);
  }
  return glyphs;
}

function find(node, name) {
  if (has(node, name)) return node;
  for (const child of node.children || []) {
    const found = find(child, name);
    if (found) return found;
  }
  return null;
}

function depth(node) {
  return 1 + Math.max(0, ...(node.children || []).map(depth));
}

// KaTeX bounds how many macros are expanded, but not what they expand to: 1,000 of 1,000 letters are a million.
const MAX_EXPANDED = 5000;
let expanded = 0; // tokens that the macros of the formula have been replaced by

function countExpandedTokens(expander) {
  const prototype = Object.getPrototypeOf(expander);
  const expandOnce = prototype.expandOnce;
  prototype.expandOnce = function (expandableOnly) {
    const tokens = expandOnce.call(this, expandableOnly);
    if (tokens !== false) expanded += tokens;
    if (expanded > MAX_EXPANDED) throw new katex.ParseError(`its macros make more than ${MAX_EXPANDED} tokens of it`);
    return tokens;
  };
  return "";
}
katex.__parse("\\probe", { macros: { "\\probe": countExpandedTokens } });

function render(latex, maxDepth) {
  expanded = 0;
  try {
    const tree = katex.__renderToDomTree(latex, { displayMode: true, throwOnError: true });
    const semantics = find(tree, "katex-mathml").children[0].children[0];
    const content = semantics.children.filter((child) => child.type !== "annotation");
    if (Math.max(...content.map(depth)) > maxDepth) {
      return { error: `nested deeper than ${maxDepth} levels` };
    }
    const glyphs = display(find(tree, "katex-html")).map(([text, x, y, width]) => [text.trim(), x, y, width]);
    return {
      mathml: content.map((child) => child.toMarkup()).join(""),
      glyphs: glyphs.filter(([text]) => text !== ""),
    };
  } catch (error) {
    return { error: String((error && error.message) || error) };
  }
}

function all(answerOf, formulas, maxDepth) {
  return JSON.stringify(formulas.map((latex) => ({ ...answerOf(latex, maxDepth), expanded })));
}
