// Says something to those who listen instead of looking.

export function announce(text) {
  document.getElementById("announcements").textContent = text;
}
