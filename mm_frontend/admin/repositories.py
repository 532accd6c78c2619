"""Redirects of repositories and rules that make them; each with its effect before it is saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import render_template, request, url_for
from flask.typing import ResponseReturnValue
from wtforms import BooleanField, HiddenField, IntegerField, StringField
from wtforms.validators import Length, NumberRange, Optional

from mm_frontend.admin.blueprint import blueprint
from mm_frontend.admin.pages import confirmation, form_page
from mm_frontend.admin.previews import PreviewForm, previewed
from mm_frontend.db import Work, session
from mm_frontend.operators.forms import required
from mm_frontend.operators.pages import me, saved
from mm_lib.model.content import Category, RepositoryRedirect
from mm_lib.services import places, redirects, rule_previews, rules
from mm_lib.services.errors import ServiceError
from mm_lib.services.rules import RuleEntry

Asked = Callable[[], str]

# -- redirects


class RedirectForm(PreviewForm):
    """Who asks for one gets the other."""

    to = StringField("Is answered with", [required("a repository"), Length(max=255)], description="What repo= names.")


class NewRedirectForm(PreviewForm):
    """The same with what is asked for."""

    from_ = StringField(
        "Who asks for", [required("a repository"), Length(max=255)], name="from", description="What repo= names."
    )
    to = StringField("Is answered with", [required("a repository"), Length(max=255)], description="What repo= names.")


def _to_redirects() -> tuple[str, str]:
    return url_for("admin.redirect_list"), "Redirects"


@blueprint.get("/redirects")
def redirect_list() -> ResponseReturnValue:
    """All of them."""
    return render_template("admin/redirects.html", rows=redirects.list_all(session()))


@blueprint.route("/redirects/new", methods=["GET", "POST"])
def new_redirect() -> ResponseReturnValue:
    """Answer requests for one repository with another."""
    form = NewRedirectForm()
    return _redirect(form, "New redirect", lambda: form.from_.data)


@blueprint.route("/redirects/<int:override_id>", methods=["GET", "POST"])
def edit_redirect(override_id: int) -> ResponseReturnValue:
    """Let it lead elsewhere."""
    row, form = places.find(session(), RepositoryRedirect, override_id), RedirectForm()
    if not form.is_submitted():
        form.to.data = row.to_prefix
    return _redirect(form, f"Where {row.from_prefix} leads", lambda: row.from_prefix)


def _redirect(form: RedirectForm | NewRedirectForm, title: str, asked: Asked) -> ResponseReturnValue:
    done, effect = previewed(
        form,
        lambda: redirects.effect(session(), asked(), form.to.data),
        lambda database: redirects.save(database, asked(), form.to.data, me()),
    )
    if done:
        return saved("Saved the redirect.", _to_redirects()[0])
    return form_page(form, title, _to_redirects(), template="admin/preview.html", effect=effect)


@blueprint.route("/redirects/<int:override_id>/delete", methods=["GET", "POST"])
def drop_redirect(override_id: int) -> ResponseReturnValue:
    """Answer with the repository itself again."""
    row = places.find(session(), RepositoryRedirect, override_id)
    prefix = row.from_prefix
    return confirmation(
        f"Redirect {prefix} no longer?",
        "Yes, remove",
        _to_redirects(),
        lambda database: redirects.save(database, prefix, None, me()),
        done=f"{prefix} is redirected no longer.",
        effect=redirects.effect(session(), prefix, None),
    )


# -- rules


class RuleForm(PreviewForm):
    """One rule of a category."""

    base = HiddenField()  # which rules the page was made for
    position = IntegerField(
        "Position",
        [Optional(), NumberRange(1, 10_000, "Enter 1 or more.")],
        description="The first that matches decides.",
    )
    pattern = StringField(
        "Pattern",
        [required("a pattern"), Length(max=2000)],
        description="Regular expression (RE2) with named groups; must match the whole path below the topdir.",
    )
    skip = BooleanField("Is no repository", description="What matches is known to be none.")
    prefix = StringField(
        "Prefix", [Length(max=255)], description="What repo= names; {name} is what a group matched. Empty: no repo=."
    )
    version = StringField("Version", [Length(max=255)], default="{version}")
    arch = StringField("Arch", [Length(max=255)], default="{arch}")
    directory = StringField("Directory", [Length(max=255)], description="Where it is above the path that matches.")
    test = BooleanField("Its version is a test release")
    display = BooleanField("Its version is shown to users", default=True)
    comment = StringField("Comment", [Length(max=500)])

    def entry(self) -> RuleEntry:
        """As a file would have it. Raises nothing: services say what is wrong."""
        texts = ("pattern", "prefix", "version", "arch", "directory", "comment")
        values: dict[str, Any] = {name: (self[name].data or "").strip() for name in texts}
        values |= {name: bool(self[name].data) for name in ("test", "display", "skip")}
        return RuleEntry(**values)


def _to_rules(category: Category) -> tuple[str, str]:
    return url_for("admin.category_rules", category_id=category.id), f"Rules of {category.name}"


@blueprint.get("/rules")
def rule_list() -> ResponseReturnValue:
    """Categories with the number of their rules."""
    return render_template("admin/rules.html", rows=rule_previews.list_categories(session()))


@blueprint.get("/rules/<int:category_id>")
def category_rules(category_id: int) -> ResponseReturnValue:
    """The rules of a category, and what they make of a path."""
    category = rule_previews.find(session(), category_id)
    path, explained, problem = request.args.get("path", "").strip()[:1000], None, ""
    if path:
        try:
            explained = rules.explain_path(session(), category.name, path)
        except ServiceError as error:
            problem = str(error)
    return render_template(
        "admin/category_rules.html",
        category=category,
        rules=rules.list_rules(session(), category.name),
        path=path,
        explained=explained,
        problem=problem,
    )


@blueprint.route("/rules/<int:category_id>/new", methods=["GET", "POST"])
def new_rule(category_id: int) -> ResponseReturnValue:
    """Add a rule."""
    return _rule(rule_previews.find(session(), category_id), None)


@blueprint.route("/rules/<int:category_id>/<int:position>", methods=["GET", "POST"])
def edit_rule(category_id: int, position: int) -> ResponseReturnValue:
    """Change a rule or move it."""
    return _rule(rule_previews.find(session(), category_id), position)


def _rule(category: Category, position: int | None) -> ResponseReturnValue:
    known, form = rule_previews.entries(session(), category), RuleForm()
    if position is not None and not form.is_submitted():
        rule_previews.changed(known, position, None)  # raises NotFound
        form.process(obj=known[position - 1])
        form.position.data = position
    if not form.is_submitted():
        form.base.data = rule_previews.fingerprint(known)

    def after() -> list[RuleEntry]:
        return rule_previews.changed(known, position, form.entry(), form.position.data)

    def change(database: Work) -> None:
        rule_previews.save(database, category, after(), form.base.data)

    done, effect = previewed(form, lambda: rule_previews.effect(session(), category, after()), change)
    if done:
        return saved("Saved the rule. The next scan of the master applies it.", _to_rules(category)[0])
    title = f"Rule {position} of {category.name}" if position else f"New rule of {category.name}"
    return form_page(form, title, _to_rules(category), template="admin/preview.html", effect=effect)


@blueprint.route("/rules/<int:category_id>/<int:position>/delete", methods=["GET", "POST"])
def drop_rule(category_id: int, position: int) -> ResponseReturnValue:
    """Take a rule out."""
    category = rule_previews.find(session(), category_id)
    known = rule_previews.entries(session(), category)
    after, base = rule_previews.changed(known, position, None), rule_previews.fingerprint(known)
    asked = request.form.get("base", base) if request.method == "POST" else base
    return confirmation(
        f"Remove rule {position} of {category.name}?",
        "Yes, remove",
        _to_rules(category),
        lambda database: rule_previews.save(database, category, after, asked),
        done=f"Removed rule {position}.",
        follows=[f"Its pattern is {known[position - 1].pattern}"],
        values={"base": base},
        effect=rule_previews.effect(session(), category, after),
    )
