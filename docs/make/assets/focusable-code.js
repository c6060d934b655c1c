/* The theme makes wide code focusable only where there is a mouse that hovers, and calls all its buttons' bars alike. */
function improve() {
  for (const code of document.querySelectorAll("pre > code:not([tabindex])"))
    if (code.scrollWidth > code.clientWidth) code.tabIndex = 0
  document.querySelectorAll("nav.md-code__nav").forEach((nav, i) => {
    if (nav.ariaLabel !== `Code ${i + 1}`) nav.ariaLabel = `Code ${i + 1}`
  })
  const pages = document.querySelector("nav.md-nav--primary")
  if (pages && pages.ariaLabel !== "All pages") pages.ariaLabel = "All pages"
}
improve()
addEventListener("load", improve)
new MutationObserver(improve).observe(document.body, { childList: true, subtree: true }) // the theme adds to code as it comes into view
