"""How the report looks: one style sheet, inline in every page."""

CSS = """
:root { --ink:#1d2b36; --muted:#5b6b77; --line:#e1e7eb; --paper:#ffffff; --ground:#f4f6f8; --accent:#1b6ca8; --warn:#a8480f; }
* { box-sizing:border-box; }
body { margin:0; background:var(--ground); color:var(--ink); font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif; }
main, header > div { max-width:1080px; margin:0 auto; padding:0 20px; }
header { background:var(--paper); border-bottom:1px solid var(--line); padding:28px 0 20px; margin-bottom:24px; }
h1 { font-size:1.75rem; line-height:1.2; margin:0 0 6px; letter-spacing:-.01em; overflow-wrap:anywhere; }
h2 { font-size:1.15rem; margin:0 0 4px; }
h3 { font-size:.95rem; margin:18px 0 6px; overflow-wrap:anywhere; }
p { margin:4px 0 12px; max-width:75ch; }
.lead, .note, figcaption, caption { color:var(--muted); }
.note, figcaption, caption { font-size:.875rem; }
section { background:var(--paper); border:1px solid var(--line); border-radius:10px; padding:20px 22px; margin-bottom:20px; }
.cards { display:grid; grid-template-columns:repeat(auto-fit,minmax(190px,1fr)); gap:14px; margin-top:12px; }
.card { border:1px solid var(--line); border-left:4px solid var(--accent); border-radius:8px; padding:12px 16px; }
.card .name { color:var(--muted); font-size:.875rem; }
.card .value { font-size:1.9rem; font-weight:650; line-height:1.25; font-variant-numeric:tabular-nums; }
.card .value small { font-size:1rem; font-weight:500; color:var(--muted); }
.card .range { font-variant-numeric:tabular-nums; font-size:.9rem; }
.heard { position:absolute; width:1px; height:1px; overflow:hidden; clip-path:inset(50%); white-space:nowrap; }
.scroll { position:relative; overflow-x:auto; margin:10px 0 4px; }
.scroll:focus-visible { outline:2px solid var(--accent); outline-offset:2px; }
table { border-collapse:collapse; width:100%; font-size:.9rem; font-variant-numeric:tabular-nums; }
caption { text-align:left; padding-bottom:6px; }
th, td { text-align:right; padding:7px 12px; border-bottom:1px solid var(--line); white-space:nowrap; }
thead th { color:var(--muted); font-weight:600; border-bottom:2px solid var(--line); }
th:first-child, th.text, td.text { text-align:left; }
td.text { white-space:normal; min-width:12ch; overflow-wrap:anywhere; }
tbody th { font-weight:600; white-space:normal; overflow-wrap:anywhere; min-width:10ch; }
tbody tr:last-child > * { border-bottom:0; }
td .range { color:var(--muted); }
figure { margin:12px 0 4px; }
figure img { display:block; max-width:100%; height:auto; }
.plots { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr)); gap:10px 24px; }
.panels { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(100%,230px),330px)); gap:6px 24px; }
.pictures { display:grid; grid-template-columns:repeat(auto-fill,minmax(min(100%,280px),1fr)); gap:14px; }
.panels img { width:100%; max-width:330px; }
.wide img { width:100%; max-width:560px; }
dl { display:grid; grid-template-columns:minmax(9ch,max-content) 1fr; gap:4px 18px; margin:8px 0 0; font-size:.9rem; }
dt { color:var(--muted); }
dd { margin:0; overflow-wrap:anywhere; }
.warn { color:var(--warn); font-weight:600; }
@media (max-width:560px) { section { padding:16px 14px; border-radius:0; border-left:0; border-right:0; } main { padding:0; } header > div { padding:0 14px; } dl { grid-template-columns:1fr; gap:0; } dd { margin-bottom:8px; } h1 { font-size:1.4rem; } th, td { padding:6px 8px; } }
@media print { body { background:#fff; } section { break-inside:avoid; border:0; padding:8px 0; } }
"""
