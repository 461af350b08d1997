"""Style sheet of the HTML reports: light and dark, no font or file from elsewhere."""

STYLE = """
.avq{--fg:#1c2024;--soft:#60666d;--bg:#fff;--card:#f5f6f8;--line:#dfe2e6;--bar:#cfe3f3;
--hint:#d55e00;--shade:rgba(0,0,0,.2);
color:var(--fg);background:var(--bg);overflow-wrap:break-word;
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
@media (prefers-color-scheme:dark){.avq{--fg:#e4e7ea;--soft:#9aa2aa;--bg:#14171a;--card:#1e2327;
--line:#343a40;--bar:#1f4562;--hint:#f08a3c;--shade:rgba(255,255,255,.2)}body:has(>main.avq){background:#14171a}}
body:has(>main.avq){margin:0}
div.avq{padding:10px 12px}
main.avq{max-width:1120px;margin:0 auto;padding:16px}
.avq *{box-sizing:border-box}
.avq h1{font-size:1.5rem;margin:.4em 0 .2em}.avq h2{font-size:1.15rem;margin:0 0 .4em}
.avq section{margin:28px 0}.avq p{margin:.3em 0 .7em}
.avq header p,.avq section>p{color:var(--soft)}
.avq .tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(125px,1fr));gap:8px}
.avq .tile{background:var(--card);border-radius:8px;padding:10px 12px;min-width:0}
.avq .tile span,.avq .tile small{display:block;color:var(--soft);font-size:.8rem;
overflow-wrap:anywhere}
.avq .tile b{font-size:1.35rem;font-variant-numeric:tabular-nums}
.avq ul.advice{list-style:none;margin:0;padding:0;display:grid;gap:8px}
.avq ul.advice li{background:var(--card);border-left:4px solid var(--hint);border-radius:4px;
padding:8px 12px;min-width:0}
.avq ul.advice p{margin:.2em 0 0;overflow-wrap:anywhere}.avq code{font-size:.85em;
color:var(--soft)}
.avq .pictures{columns:440px;column-gap:14px}
.avq figure{margin:0 0 14px;background:var(--card);border-radius:8px;padding:8px;
break-inside:avoid}
.avq figure svg{display:block;width:100%;height:auto;color:var(--fg)}
.avq figcaption{color:var(--soft);font-size:.85rem;padding:2px 4px}
.avq .wide{overflow-x:auto;margin:.4em 0;
background:linear-gradient(270deg,var(--bg) 40%,transparent) 100% 0/48px 100% no-repeat local,
linear-gradient(270deg,var(--shade),transparent) 100% 0/16px 100% no-repeat scroll}
.avq table{border-collapse:separate;border-spacing:0;font-size:.85rem;
font-variant-numeric:tabular-nums;color:var(--fg)}
.avq th,.avq td{padding:4px 8px;text-align:right;border-bottom:1px solid var(--line);
white-space:nowrap;
background:none}
.avq thead th{color:var(--soft);font-weight:600;vertical-align:bottom;white-space:normal;
min-width:4.2em}
.avq th.text{text-align:left}
.avq th:first-child{text-align:left;position:sticky;left:0;background:var(--bg)}
.avq .name{width:max-content;max-width:16em;white-space:normal;overflow-wrap:anywhere}
.avq td.text{text-align:left;white-space:normal;min-width:22em}.avq td.word{text-align:left}
@media (max-width:600px){.avq .name{max-width:8.5em}.avq td.text{min-width:17em}}
.avq td.bar{background:linear-gradient(90deg,var(--bar) var(--w),transparent var(--w))}
.avq details{border-top:1px solid var(--line);padding:6px 0}
.avq summary{cursor:pointer;padding:4px 0;overflow-wrap:anywhere}
.avq dt{font-weight:600}.avq dd{margin:0 0 .5em;color:var(--soft)}
.avq li small{color:var(--soft)}
.avq .tiles+details{border:0;margin-top:6px}.avq section>p b{color:var(--fg)}
.avq .good{color:var(--fg)}.avq footer{color:var(--soft);font-size:.8rem;margin:24px 0 8px}
"""
