"use strict";
// What all scripts use. Every word is put into the page as text.
const element = (id) => document.getElementById(id);
const range = (count) => Array.from({ length: count }, (_, i) => i);
const shown = (value, digits = 3) => value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−");

function make(name, attributes = {}, words) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (words !== undefined) node.textContent = words;
  return node;
}
