"""One test for each fault of a MISP, of its user, or of what we want of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from tests.check.conftest import Rig, is_finding
from tests.misp.conftest import fault, status
from tqmisp.simulators.misp import ROLES
from tqmisp.simulators.misp.model import SharingGroup


async def test_a_wrong_key(rig: Rig) -> None:
    """MISP does not know it."""
    rig.values["misp.key"] = "0" * 40
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.key", "failure", "[misp] key", "List Auth Keys")


async def test_an_expired_key(rig: Rig) -> None:
    """MISP says the same as to a wrong one, so the fix names both."""
    rig.user(expiration="2024-01-01T00:00:00+00:00")
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.key", "failure", "expired", "[misp] key")


async def test_a_key_that_expires_soon(rig: Rig) -> None:
    """MISP tells the day in a header."""
    rig.user(expiration=(datetime.now(UTC) + timedelta(days=5, hours=1)).isoformat(timespec="seconds"))
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.key_expiry", "warning", "[misp] key")
    assert "in 5 days" in found.reason


async def test_a_disabled_user(rig: Rig) -> None:
    """The key is right, its user is not."""
    rig.user(disabled=True)
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.key", "failure", "enabled", "List Users")


async def test_a_key_for_other_addresses(rig: Rig) -> None:
    """The key is right, this machine is not."""
    rig.user(allowed_ips=("192.0.2.7",))
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.key", "failure", "allowed IPs")


async def test_a_read_only_key(rig: Rig) -> None:
    """The role could, the key may not: only trying tells."""
    rig.user(read_only=True)
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.write", "failure", "Read only", "[misp] key")


async def test_a_read_only_role(rig: Rig) -> None:
    """It can neither write nor make tags."""
    rig.user("Read Only")
    write, tags = await rig.trouble(2)
    assert is_finding(write, "misp.write", "failure", "Sync user", "List Users")
    assert is_finding(tags, "misp.tags", "warning", "tag editor")


async def test_no_permission_to_make_tags(rig: Rig) -> None:
    """The tags that would be missing are named."""
    rig.user("Publisher")
    rig.values["events.tags"] = ["tlp:red", "course:of-action"]
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.tags", "warning", "tag editor", "Sync user")
    assert "course:of-action" in found.reason


async def test_no_permission_to_publish(rig: Rig) -> None:
    """It is a failure where publishing is asked for, and nothing otherwise."""
    rig.user(role=replace(ROLES["Sync user"], permissions=ROLES["Sync user"].permissions - {"perm_publish"}))
    rig.values["events.publish"] = True
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.publish", "failure", "[events] publish = false", "Sync user")
    del rig.values["events.publish"]
    await rig.trouble(0)


async def test_a_key_of_a_site_administrator(rig: Rig) -> None:
    """It works, is more than is needed, and belongs to the organisation of a fresh MISP."""
    rig.user("admin")
    organisation, found = await rig.trouble(2)
    assert is_finding(organisation, "misp.organisation", "warning", "[misp] key", "organisation of its own")
    assert is_finding(found, "misp.sync", "warning", "Sync user", "[misp] key")


@pytest.mark.parametrize(("limit", "level"), [(0, "failure"), (5, "warning")])
async def test_a_role_that_may_hardly_search(rig: Rig, limit: int, level: str) -> None:
    """What was written is read back by searching."""
    rig.user(role=replace(ROLES["Sync user"], rate_limit=limit))
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.searches", level, "rate limit")


async def test_maintenance(rig: Rig) -> None:
    """MISP sends everybody to its login page, which is no redirect to follow."""
    rig.store.maintenance = True
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.maintenance", "failure", "MISP.live")


async def test_a_redirect_from_http_to_https(rig: Rig) -> None:
    """The better address is told."""
    rig.middlewares.append(fault("/servers/getVersion", status(301, Location="https://127.0.0.1/servers/getVersion")))
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.redirect", "failure", "[misp] url", "https://127.0.0.1")


async def test_a_redirect_to_single_sign_on(rig: Rig) -> None:
    """A login page before the API is named as such."""
    rig.middlewares.append(fault("/", status(302, Location="https://sso.example/login?token=secret")))
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.redirect", "failure", "[misp] url", "single sign-on")
    assert "secret" not in found.reason


async def test_html_at_the_address(rig: Rig) -> None:
    """Some other site answers."""

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="<html>hello</html>", content_type="text/html")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", page)
    rig.values["misp.url"] = await rig.serve(app)
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.answer", "failure", "[misp] url")
    assert "text/html" in found.reason


async def test_a_threatq_at_the_address(rig: Rig) -> None:
    """The two addresses were mixed up; the key was not sent."""
    settings = await rig.settings()
    rig.values["misp.url"] = settings.threatq.url
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.answer", "failure", "[misp] url")


async def test_a_server_in_trouble(rig: Rig) -> None:
    """The web server has no PHP behind it."""
    rig.middlewares.append(fault("/", status(502)))
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.answer", "failure", "[misp] url", "logs")


async def test_a_body_limit_of_1_mb(rig: Rig) -> None:
    """What nginx allows where nobody has set it."""
    rig.misp = replace(rig.misp, body_limit=2**20)
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.body_size", "warning", "client_max_body_size 50m", "[misp] chunk_size to 666")
    assert "413" in found.reason


async def test_hardly_any_body_gets_through(rig: Rig) -> None:
    """Not even 1 MiB."""
    rig.misp = replace(rig.misp, body_limit=100_000)
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.body_size", "warning", "[misp] chunk_size to 333")
    assert "less than 1 MiB" in found.reason


async def test_a_clock_10_minutes_ahead(rig: Rig) -> None:
    """The date of its answers tells."""
    rig.misp = replace(rig.misp, clock_ahead=600)
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.clock", "warning", "NTP", "[misp] url")
    assert "10 minutes ahead" in found.reason


async def test_an_unknown_sharing_group(rig: Rig) -> None:
    """Those that our organisation may use are told."""
    rig.store.sharing_groups[3] = SharingGroup(3, "c96adc54-d859-4e04-96bb-db7dd54a8567", "partners", 1, (2,))
    rig.values |= {"events.distribution": 4, "events.sharing_group_id": 7}
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.sharing_group", "failure", "[events] sharing_group_id")
    assert "3 (partners)" in found.reason
    rig.values["events.sharing_group_id"] = 3
    await rig.trouble(0)


async def test_a_taxonomy_that_is_not_enabled(rig: Rig) -> None:
    """Its tags would be free ones; that of the clusters and our own have none."""
    rig.misp = replace(rig.misp, taxonomies={"tlp": False, "workflow": True})
    rig.values["events.tags"] = ['workflow:state="draft"', 'threatq:kind="export"']
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.taxonomies", "warning", "Enable tlp", "List Taxonomies")


async def test_an_old_version(rig: Rig) -> None:
    """It may work, but nobody has tried."""
    rig.misp = replace(rig.misp, version="2.4.190")
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.version", "warning", "2.5.1")


async def test_low_limits_of_php(rig: Rig) -> None:
    """A site administrator sees them; each is named with what it should be."""
    rig.user("admin", organisation=rig.store.organisations[2])
    rig.misp = replace(rig.misp, php=dict(rig.misp.php) | {"memory_limit": 128, "max_execution_time": 30})
    _, *found = await rig.trouble(3)
    written = {"max_execution_time = 300", "memory_limit = 512M"}
    assert all(is_finding(each, "misp.php", "warning", "php.ini") for each in found)
    assert {name for name in written for each in found if each.fix and name in each.fix} == written


async def test_a_role_with_low_limits_of_php(rig: Rig) -> None:
    """A role changes them for its users, and everybody sees it."""
    rig.user(role=replace(ROLES["Sync user"], memory_limit="128M", max_execution_time="600"))
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.php", "warning", "memory_limit = 512M", "List Roles")


async def test_settings_that_cost(rig: Rig) -> None:
    """Correlation that is off, and logs that are dear."""
    rig.user("admin", organisation=rig.store.organisations[2])
    rig.misp = replace(
        rig.misp,
        settings={
            "MISP.completely_disable_correlation": True,
            "MISP.log_new_audit": True,
            "MISP.log_paranoid_include_post_body": True,
        },
    )
    _, correlation, *logging = await rig.trouble(4)
    assert is_finding(correlation, "misp.correlation", "warning", "MISP.completely_disable_correlation")
    assert is_finding(logging[0], "misp.logging", "warning", "MISP.log_new_audit")
    assert is_finding(logging[1], "misp.logging", "warning", "MISP.log_paranoid_include_post_body")
