for (const box of document.querySelectorAll("input[type=search]")) {
  const section = box.closest("section"), found = section.querySelector("output");
  const cards = [...section.querySelectorAll(".card")];
  const texts = cards.map(card => card.textContent.toLowerCase());
  box.closest("p").hidden = false;
  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    cards.forEach((card, at) => { card.hidden = !words.every(word => texts[at].includes(word)); });
    for (const group of section.querySelectorAll("details")) {
      const any = group.querySelector(".card:not([hidden])") !== null;
      group.hidden = !any;
      if (words.length) group.open = any;
    }
    const shown = cards.filter(card => !card.hidden).length;
    found.value = words.length ? `${shown} of ${cards.length} questions` : "";
  });
}
