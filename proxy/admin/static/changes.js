// The two dialogs that change the rollout. Each says what will change, and sends what it said: should something else
// be in force by then, it does nothing and says so. The token is asked for when it is needed and never stored.

import { byId, el, renderWhenChanged, setText } from "./dom.js";
import { asClock } from "./format.js";
import { orderPlanOf, planOf, rollbackPlanOf } from "./plan.js";

let token = "";

class ChangeDialog {
  // `latest()` gives { status, config }; `done(text)` is told the outcome.
  constructor(id, opener, latest, done) {
    this.dialog = byId(id);
    this.latest = latest;
    this.done = done;
    this.busy = false;
    const find = (selector) => this.dialog.querySelector(selector);
    this.opener = opener;
    [this.plan, this.trouble, this.confirm, this.again] = [".plan", ".trouble", ".confirm", ".again"].map(find);
    [this.tokenLabel, this.tokenInput] = [find(".token"), find(".token input")];
    opener?.addEventListener("click", () => this.open());
    find(".cancel").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => {
      this.forget();
      this.opener.focus();
    });
    this.dialog.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
  }

  open() {
    const { status, config } = this.latest();
    if (!status) return;
    this.base = { status, config };
    this.forget();
    this.start();
    this.review();
    this.dialog.showModal();
    this.focusFirst();
  }

  forget() {
    this.tokenLabel.hidden = true;
    this.tokenInput.value = "";
    this.tokenInput.required = false;
    this.stale = false;
    setText(this.trouble, "");
  }

  start() {}

  focusFirst() {
    this.dialog.querySelector(".cancel").focus();
  }

  // Something else has come into force while the dialog was open.
  notice(status) {
    if (!this.dialog.open || this.busy || this.stale) return;
    const { revision, percentage, enabled } = this.base.status;
    if (status.revision !== revision || status.percentage !== percentage || status.enabled !== enabled) {
      this.outdated(`Meanwhile ${status.percentage} %, ${status.enabled ? "enabled" : "not enabled"}, revision ${status.revision} came into force.`);
    }
  }

  outdated(text) {
    this.stale = true;
    setText(this.trouble, `${text} Nothing was changed from here; look again at what would change.`);
    this.review();
  }

  async submit() {
    if (this.busy || this.confirm.disabled) return;
    if (!this.tokenLabel.hidden) token = this.tokenInput.value;
    this.busy = true;
    this.confirm.disabled = true;
    setText(this.trouble, "");
    try {
      const response = await this.send();
      const body = await response.json();
      if (response.ok) {
        this.dialog.close();
        this.done(this.outcome(body));
      } else {
        this.refused(response.status, body);
      }
    } catch {
      setText(this.trouble, "cutover can't be reached: whether it was changed is not known.");
    } finally {
      this.busy = false;
      if (this.dialog.open) this.review();
    }
  }

  refused(status, { detail }) {
    if (status === 401) {
      const wrong = token !== "";
      token = "";
      this.tokenLabel.hidden = false;
      this.tokenInput.required = true;
      this.tokenInput.value = "";
      setText(this.trouble, wrong ? "This token was not accepted. Nothing was changed." : "This needs the admin token. It is kept until the page is closed, in memory only.");
      this.tokenInput.focus();
    } else if (status === 412) {
      this.outdated(`This page was behind: ${detail}.`);
    } else {
      setText(this.trouble, `Nothing was changed: ${detail}`);
    }
  }

  outcome({ percentage, enabled, revision, persisted, note }) {
    const where = persisted ? `in the file, revision ${revision}` : "as an override";
    return `${asClock(Date.now() / 1000)}: ${percentage} %, ${enabled ? "enabled" : "not enabled"}, ${where}.${note ? ` Note: ${note}.` : ""}`;
  }

  request(method, path, body) {
    const headers = {};
    if (token) headers.Authorization = `Bearer ${token}`;
    if (body) {
      headers["Content-Type"] = "application/json";
      headers["If-Match"] = `"${this.base.status.revision}"`;
    }
    return fetch(path, { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
  }
}

class SetDialog extends ChangeDialog {
  constructor(...rest) {
    super("set", byId("open-set"), ...rest);
    this.value = byId("set-value");
    this.enabled = byId("set-enabled");
    this.dialog.querySelector("form").addEventListener("input", () => this.review());
    for (const button of this.dialog.querySelectorAll("[data-value]")) {
      button.addEventListener("click", () => {
        this.value.value = button.dataset.value;
        this.review();
      });
    }
    this.again.addEventListener("click", () => {
      this.base = this.latest();
      this.stale = false;
      setText(this.trouble, "");
      this.enabled.checked = this.base.status.enabled === true;
      this.review();
      this.confirm.focus();
    });
  }

  start() {
    const { status } = this.base;
    this.value.value = status.percentage;
    this.enabled.checked = status.enabled === true;
    this.dialog.querySelector('[name="persist"][value="true"]').checked = true;
  }

  focusFirst() {
    this.value.focus();
    this.value.select();
  }

  wish() {
    return {
      percentage: this.value.valueAsNumber,
      enabled: this.enabled.checked,
      persist: this.dialog.querySelector('[name="persist"]:checked').value === "true",
    };
  }

  review() {
    const wish = this.wish();
    const valid = this.value.checkValidity();
    const plan = valid ? planOf(this.base.status, this.base.config, wish, this.latest().rollout) : ["Give a whole number from 0 to 100"];
    renderWhenChanged(this.plan, plan.length ? plan : ["Nothing: this is what is in force"], (lines) => lines.map((line) => el("li", {}, line)));
    this.confirm.disabled = !valid || !plan.length || this.stale;
    this.again.hidden = !this.stale;
    setText(this.confirm, valid ? `Set ${wish.percentage} %` : "Set");
  }

  send() {
    const wish = this.wish();
    const body = { percentage: wish.percentage };
    if (wish.enabled !== this.base.status.enabled) body.enabled = wish.enabled;
    return this.request("PATCH", `rollout?persist=${wish.persist}`, body);
  }
}

class RollbackDialog extends ChangeDialog {
  constructor(...rest) {
    super("rollback", byId("open-rollback"), ...rest);
  }

  // Going back to nothing is the same whatever is in force: only what is told of it follows.
  notice(status) {
    if (!this.dialog.open) return;
    this.base = { ...this.base, status };
    if (!this.busy) this.review();
  }

  review() {
    renderWhenChanged(this.plan, rollbackPlanOf(this.base.status, this.latest().rollout), (lines) => lines.map((line) => el("li", {}, line)));
    this.confirm.disabled = false;
  }

  send() {
    return this.request("POST", "rollback");
  }
}

// One dialog for every order to the controller of a staged rollout.
class OrderDialog extends ChangeDialog {
  constructor(...rest) {
    super("order", null, ...rest);
    [this.check, this.reason, this.reasonLabel, this.keep] = ["order-check", "order-reason", "order-reason-label", "order-keep"].map(byId);
    for (const word of ["pause", "resume", "promote", "abort"]) {
      byId(`open-${word}`).addEventListener("click", (event) => {
        this.word = word;
        this.opener = event.currentTarget;
        this.open();
      });
    }
    this.dialog.querySelector("form").addEventListener("input", () => this.review());
  }

  open() {
    this.rollout = this.latest().rollout;
    super.open();
  }

  start() {
    const title = this.word[0].toUpperCase() + this.word.slice(1);
    setText(byId("order-title"), `${title} the rollout`);
    setText(this.confirm, `${title} now`);
    this.confirm.classList.toggle("danger", this.word === "abort");
    this.dialog.querySelector(".override").hidden = this.word !== "promote";
    byId("order-keep-label").hidden = this.word !== "abort";
    this.keep.checked = false;
    this.reason.value = "";
    const open = this.rollout.checks.filter(({ verdict, name }) => verdict !== "GO" && !Object.hasOwn(this.rollout.overrides, name));
    this.check.replaceChildren(el("option", { value: "" }, "none"), ...open.map(({ name, verdict }) => el("option", { value: name }, `${name} (${verdict})`)));
  }

  // A promotion is meant for one stage; everything else is so whatever comes into force.
  notice() {
    if (!this.dialog.open || this.busy || this.stale) return;
    const { rollout } = this.latest();
    if (rollout.stage === this.rollout.stage && rollout.phase === this.rollout.phase) return;
    this.rollout = { ...rollout, stage: this.rollout.stage };
    if (rollout.stage !== this.rollout.stage) {
      this.stale = true;
      setText(this.trouble, `Meanwhile stage ${rollout.stage} has begun. Nothing was ordered; close this and look again.`);
    }
    this.review();
  }

  review() {
    this.reasonLabel.hidden = this.check.value === "";
    this.reason.required = this.check.value !== "";
    renderWhenChanged(this.plan, orderPlanOf(this.word, this.rollout, { keep: this.keep.checked, check: this.check.value }), (lines) => lines.map((line) => el("li", {}, line)));
    this.confirm.disabled = this.stale;
  }

  refused(status, body) {
    if (status === 401) super.refused(status, body);
    else setText(this.trouble, status === 504 ? `No answer: ${body.detail}.` : `Not obeyed: ${body.detail}.`);
  }

  outcome({ why }) {
    return `${asClock(Date.now() / 1000)}: ${why}.`;
  }

  send() {
    const order = { order: this.word };
    if (this.word === "promote") {
      order.stage = this.rollout.stage;
      if (this.check.value) Object.assign(order, { check: this.check.value, reason: this.reason.value.trim() });
    }
    if (this.word === "abort" && this.keep.checked) order.keep = true;
    return this.request("POST", "rollout/orders", order);
  }
}

export function setUpChanges(latest, done) {
  const dialogs = [new SetDialog(latest, done), new RollbackDialog(latest, done), new OrderDialog(latest, done)];
  return (status) => dialogs.forEach((dialog) => dialog.notice(status));
}
