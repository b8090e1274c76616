// Light, dark, or as the system has it. Kept for the tab only.

const CHOICES = [
  { theme: null, label: "Auto" },
  { theme: "light", label: "Light" },
  { theme: "dark", label: "Dark" },
];
let chosen = 0;

export function installTheme(button) {
  const show = () => {
    const { theme, label } = CHOICES[chosen];
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    button.textContent = label;
    button.setAttribute("aria-label", `Colours: ${label}. Change`);
  };
  button.addEventListener("click", () => {
    chosen = (chosen + 1) % CHOICES.length;
    show();
  });
  show();
}
