// Just enough CSV to show the first lines of a file. The appliance reads it for real.

export function firstLines(text, lines, whole) {
  const rows = [];
  let row = [];
  let cell = "";
  let quoted = false;
  for (let place = 0; place < text.length && rows.length < lines; place += 1) {
    const letter = text[place];
    if (quoted) {
      if (letter !== '"') cell += letter;
      else if (text[place + 1] === '"') cell += text[(place += 1)];
      else quoted = false;
    } else if (letter === '"') quoted = true;
    else if (letter === ",") cell = push(row, cell);
    else if (letter === "\n") {
      push(row, cell.replace(/\r$/, ""));
      rows.push(row);
      [row, cell] = [[], ""];
    } else cell += letter;
  }
  // Of a file that goes on, a last line without its end is a piece.
  if (whole && rows.length < lines && (cell || row.length)) rows.push([...row, cell]);
  return rows;
}

// One line, with quotes where a cell needs them.
export function line(cells) {
  return cells.map((cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(",");
}

function push(row, cell) {
  row.push(cell);
  return "";
}
