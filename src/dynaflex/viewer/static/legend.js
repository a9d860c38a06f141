// The line below the plot that says what the colours mean; a class in it can be clicked to select its particles.

/** Show the legend `found` of Particles.colours in an element; `picked` hears {value, adds} when a class is clicked. */
export function showLegend(strip, { label, css, texts, classes }, note, picked) {
  strip.replaceChildren(node("b", label));
  for (const { text, css: colour, value } of classes ?? []) {
    const entry = strip.appendChild(node("button", text));
    entry.className = "entry";
    entry.title = `Select ${label} ${text}; with Shift, add it to the selection`;
    entry.prepend(swatch("class", colour));
    entry.addEventListener("click", (event) => picked({ value, adds: event.shiftKey }));
  }
  if (!classes) strip.append(node("span", texts[0]), swatch("", css), node("span", texts[1]));
  strip.append(node("span", note));
}

function swatch(kind, background) {
  const element = document.createElement("i");
  element.className = kind;
  element.style.background = background;
  return element;
}

function node(name, text) {
  const element = document.createElement(name);
  element.textContent = text;
  return element;
}
