// What is wrong with a page on a narrow screen, in words: evaluated in the page by test_narrow.py.
(smallest) => {
  const root = document.documentElement;
  const width = root.clientWidth;
  // Whether something can be scrolled to within a place of its own, or is cut off by it on purpose.
  const isWithin = (one) =>
    one && one !== document.body && (/auto|scroll|hidden/.test(getComputedStyle(one).overflowX) || isWithin(one.parentElement));

  const wide = [...document.querySelectorAll("body *")]
    .filter((one) => !one.closest("svg, .hidden, .skip") && !isWithin(one.parentElement))
    .map((one) => [one, one.getBoundingClientRect()])
    .filter(([, { right, width: own }]) => own && right > width + 1)
    .map(([one, { right }]) => `${one.outerHTML.slice(0, 80)} reaches ${Math.round(right)}`);
  if (root.scrollWidth > width) wide.unshift(`the page is ${root.scrollWidth} wide`);

  // Links in text are for axe, which knows the rule's exceptions.
  const small = [...document.querySelectorAll("button, select, textarea, summary, input, a.button, nav a")]
    .map((one) => one.closest("label.choice") ?? one)
    .filter((one) => one.type !== "hidden" && one.checkVisibility({ visibilityProperty: true }))
    .map((one) => [one, one.getBoundingClientRect()])
    .filter(([, { width: own, height }]) => own < smallest || height < smallest)
    .map(([one, { width: own, height }]) => `${one.outerHTML.slice(0, 80)} is ${Math.round(own)} by ${Math.round(height)}`);
  return [...wide.slice(0, 5), ...small];
}
