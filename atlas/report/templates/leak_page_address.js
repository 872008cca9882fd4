// The address keeps filters, order, channel and the opened claim. It replaces the present one, so "back" leaves the page.

const WAITS_MS = 200; // browsers limit how often an address may change
let waiting = 0;
let known = location.hash; // the address that this view belongs to

function addressed() {
  const parts = new URLSearchParams([...new FormData(filters)].filter(([, value]) => value));
  if (sort.key !== START.key || sort.sign !== START.sign) parts.set("sort", `${sort.sign < 0 ? "-" : ""}${sort.key}`);
  if (channel !== ALL) parts.set("channel", channels[channel].name);
  if (large.open) parts.set("claim", shown[opened].id);
  return `#${parts}`;
}

function remember() {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    if (location.hash !== known) return; // somebody went to another one, and its view comes next
    if (addressed() !== (known || "#")) history.replaceState(null, "", addressed());
    known = location.hash;
  }, WAITS_MS);
}

function restore() {
  known = location.hash;
  const parts = new URLSearchParams(location.hash.slice(1));
  for (const field of filters.elements) {
    if (!field.name) continue;
    field.value = parts.get(field.name) ?? "";
    if (field.selectedIndex === -1) field.selectedIndex = 0;
  }
  const [, sign, key] = (parts.get("sort") ?? "").match(/^(-?)(.*)$/);
  const sortable = [...table.querySelectorAll("th[data-key]")].some((head) => head.dataset.key === key);
  Object.assign(sort, sortable ? { key, sign: sign ? -1 : 1 } : START);
  chooseChannel(channels.findIndex(({ name }) => name === parts.get("channel")));
  update();
  openNamed(parts.get("claim"));
}

function openNamed(id) {
  const place = shown.findIndex((claim) => claim.id === id);
  if (place >= 0) open(place);
  else if (large.open) large.close();
  if (id !== null && place < 0) announce(`${id} is not in this list`);
}

addEventListener("hashchange", restore);
measure();
refresh();
restore();
