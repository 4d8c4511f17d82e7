"use strict";(self.rspackChunkkitbag=self.rspackChunkkitbag||[]).push([[266],{646(e,t,r){var n=r(601),a=r.n(n),o=r(314),i=(r.n(o))()(a());i.push([e.id,`.kitbag-panel {
  overflow: auto;
  padding: 8px 12px;
  color: var(--jp-ui-font-color1);
  background: var(--jp-layout-color1);
  font-size: var(--jp-ui-font-size1);
}

.kitbag-panel h2 {
  margin: 0 0 8px;
  font-size: var(--jp-ui-font-size2);
}

.kitbag-panel h3 {
  margin: 16px 0 4px;
  padding-top: 8px;
  border-top: 1px solid var(--jp-border-color2);
  font-size: var(--jp-ui-font-size1);
}

.kitbag-panel h4 {
  margin: 0;
  font-size: var(--jp-ui-font-size1);
  font-weight: normal;
}

.kitbag-panel dl {
  display: grid;
  grid-template-columns: max-content 1fr;
  gap: 2px 12px;
  margin: 0;
}

.kitbag-panel dd {
  margin: 0;
  overflow-wrap: anywhere;
}

.kitbag-panel p {
  margin: 4px 0;
  overflow-wrap: anywhere;
}

.kitbag-panel p:empty {
  margin: 0;
}

.kitbag-drift {
  font-weight: 600;
}

.kitbag-problem {
  color: var(--jp-error-color0);
}

.kitbag-panel ul,
.kitbag-panel ol {
  margin: 4px 0;
  padding: 0;
  list-style: none;
}

.kitbag-lines li,
.kitbag-panel code,
.kitbag-panel pre {
  font-family: var(--jp-code-font-family);
  font-size: var(--jp-code-font-size);
  overflow-wrap: anywhere;
}

.kitbag-panel pre {
  max-height: 220px;
  margin: 4px 0;
  padding: 6px;
  overflow: auto;
  white-space: pre-wrap;
  background: var(--jp-layout-color2);
}

.kitbag-panel code {
  display: block;
  padding: 0;
  color: inherit;
  background: none;
}

.kitbag-version {
  padding: 4px 0;
}

.kitbag-actions,
.kitbag-head {
  display: flex;
  align-items: center;
  justify-content: space-between;
  gap: 8px;
  margin-top: 8px;
}

.kitbag-actions {
  justify-content: start;
}

.kitbag-button {
  padding: 3px 12px;
  border: 1px solid var(--jp-border-color1);
  border-radius: 2px;
  color: var(--jp-ui-font-color1);
  background: var(--jp-layout-color2);
  font: inherit;
  cursor: pointer;
}

.kitbag-main:not(:disabled) {
  border-color: var(--jp-brand-color0);
  color: var(--jp-ui-inverse-font-color0);
  background: var(--jp-brand-color0);
}

.kitbag-button:disabled {
  color: var(--jp-ui-font-color2);
  cursor: default;
}

.kitbag-panel :focus-visible {
  outline: 2px solid var(--jp-brand-color1);
  outline-offset: 1px;
}
`,""]),r.d(t,{},{A:i})},314(e){e.exports=function(e){var t=[];return t.toString=function(){return this.map(function(t){var r="",n=void 0!==t[5];return t[4]&&(r+="@supports (".concat(t[4],") {")),t[2]&&(r+="@media ".concat(t[2]," {")),n&&(r+="@layer".concat(t[5].length>0?" ".concat(t[5]):""," {")),r+=e(t),n&&(r+="}"),t[2]&&(r+="}"),t[4]&&(r+="}"),r}).join("")},t.i=function(e,r,n,a,o){"string"==typeof e&&(e=[[null,e,void 0]]);var i={};if(n)for(var p=0;p<this.length;p++){var c=this[p][0];null!=c&&(i[c]=!0)}for(var l=0;l<e.length;l++){var s=[].concat(e[l]);n&&i[s[0]]||(void 0!==o&&(void 0===s[5]||(s[1]="@layer".concat(s[5].length>0?" ".concat(s[5]):""," {").concat(s[1],"}")),s[5]=o),r&&(s[2]&&(s[1]="@media ".concat(s[2]," {").concat(s[1],"}")),s[2]=r),a&&(s[4]?(s[1]="@supports (".concat(s[4],") {").concat(s[1],"}"),s[4]=a):s[4]="".concat(a)),t.push(s))}},t}},601(e){e.exports=function(e){return e[1]}},665(e,t,r){r.r(t);var n=r(72),a=r.n(n),o=r(825),i=r.n(o),p=r(659),c=r.n(p),l=r(56),s=r.n(l),u=r(540),d=r.n(u),f=r(113),g=r.n(f),v=r(646),b={};b.styleTagTransform=g(),b.setAttributes=s(),b.insert=c().bind(null,"head"),b.domAPI=i(),b.insertStyleElement=d(),a()(v.A,b);let m=v.A&&v.A.locals?v.A.locals:void 0;r.d(t,{},{default:m})},72(e){var t=[];function r(e){for(var r=-1,n=0;n<t.length;n++)if(t[n].identifier===e){r=n;break}return r}function n(e,n){for(var a={},o=[],i=0;i<e.length;i++){var p=e[i],c=n.base?p[0]+n.base:p[0],l=a[c]||0,s="".concat(c," ").concat(l);a[c]=l+1;var u=r(s),d={css:p[1],media:p[2],sourceMap:p[3],supports:p[4],layer:p[5]};if(-1!==u)t[u].references++,t[u].updater(d);else{var f=function(e,t){var r=t.domAPI(t);return r.update(e),function(t){t?(t.css!==e.css||t.media!==e.media||t.sourceMap!==e.sourceMap||t.supports!==e.supports||t.layer!==e.layer)&&r.update(e=t):r.remove()}}(d,n);n.byIndex=i,t.splice(i,0,{identifier:s,updater:f,references:1})}o.push(s)}return o}e.exports=function(e,a){var o=n(e=e||[],a=a||{});return function(e){e=e||[];for(var i=0;i<o.length;i++){var p=r(o[i]);t[p].references--}for(var c=n(e,a),l=0;l<o.length;l++){var s=r(o[l]);0===t[s].references&&(t[s].updater(),t.splice(s,1))}o=c}}},659(e){var t={};e.exports=function(e,r){var n=function(e){if(void 0===t[e]){var r=document.querySelector(e);if(window.HTMLIFrameElement&&r instanceof window.HTMLIFrameElement)try{r=r.contentDocument.head}catch(e){r=null}t[e]=r}return t[e]}(e);if(!n)throw Error("Couldn't find a style target. This probably means that the value for the 'insert' parameter is invalid.");n.appendChild(r)}},540(e){e.exports=function(e){var t=document.createElement("style");return e.setAttributes(t,e.attributes),e.insert(t,e.options),t}},56(e,t,r){e.exports=function(e){var t=r.nc;t&&e.setAttribute("nonce",t)}},825(e){e.exports=function(e){if("u"<typeof document)return{update:function(){},remove:function(){}};var t=e.insertStyleElement(e);return{update:function(r){var n,a,o;n="",r.supports&&(n+="@supports (".concat(r.supports,") {")),r.media&&(n+="@media ".concat(r.media," {")),(a=void 0!==r.layer)&&(n+="@layer".concat(r.layer.length>0?" ".concat(r.layer):""," {")),n+=r.css,a&&(n+="}"),r.media&&(n+="}"),r.supports&&(n+="}"),(o=r.sourceMap)&&"u">typeof btoa&&(n+="\n/*# sourceMappingURL=data:application/json;base64,".concat(btoa(unescape(encodeURIComponent(JSON.stringify(o))))," */")),e.styleTagTransform(n,t,e.options)},remove:function(){var e;null===(e=t).parentNode||e.parentNode.removeChild(e)}}}},113(e){e.exports=function(e,t){if(t.styleSheet)t.styleSheet.cssText=e;else{for(;t.firstChild;)t.removeChild(t.firstChild);t.appendChild(document.createTextNode(e))}}}}]);