"""Certificates: which files count, which of them a client gets, and how a bad one is refused."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import SkipTest

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from myproject.certificates import (
    DEFAULT_NAME,
    CertificateError,
    Identity,
    choose,
    find_pairs,
    load_authorities,
    load_identities,
    make_self_signed,
    signature,
)
from tests.core.authority import issue

ALPHA = issue("a.test", "*.wild.test")
BETA = issue("b.test", "c.wild.test")
NAMELESS = issue()


class Named(Identity):
    """An identity that says what its names are, without a certificate."""

    def __init__(self, name: str, *names: str) -> None:
        super().__init__(name, (), None)
        object.__setattr__(self, "said", names)

    @property
    def names(self) -> tuple[str, ...]:
        said: tuple[str, ...] = self.__dict__["said"]
        return said


LABEL = st.text("ab", min_size=1, max_size=2)
NAME = st.lists(LABEL, min_size=1, max_size=3).map(".".join)
PATTERN = st.one_of(NAME, NAME.map("*.{}".format))


class ChooseTests(SynchronousTestCase):
    """The rule by which a client gets a certificate."""

    def chosen(self, asked: str | None, *identities: Identity) -> str:
        return choose(identities, asked).name

    def test_the_very_name_beats_a_wildcard_before_it(self) -> None:
        self.assertEqual(
            "2", self.chosen("c.wild.test", Named("1", "*.wild.test"), Named("2", "c.wild.test"))
        )

    def test_case_and_a_final_dot_do_not_matter(self) -> None:
        self.assertEqual("2", self.chosen("B.TEST.", Named("1", "a.test"), Named("2", "b.test")))

    def test_an_asterisk_stands_for_one_label(self) -> None:
        both = Named("1", "a.test"), Named("2", "*.wild.test")
        self.assertEqual("2", self.chosen("x.wild.test", *both))
        for asked in ("x.y.wild.test", "wild.test", "*.wild.test", "xwild.test"):
            self.assertEqual("1", self.chosen(asked, *both), asked)

    def test_nobodys_name_and_none_get_the_first(self) -> None:
        both = Named("1", "a.test"), Named("2", "b.test")
        self.assertEqual(("1", "1", "1"), tuple(self.chosen(n, *both) for n in ("x", "", None)))

    def test_nobodys_name_and_none_get_the_one_called_default(self) -> None:
        both = Named("a", "a.test"), Named(DEFAULT_NAME, "b.test")
        self.assertEqual((DEFAULT_NAME,) * 2, (self.chosen("x", *both), self.chosen(None, *both)))

    def test_of_two_with_the_same_name_the_first_is_served(self) -> None:
        self.assertEqual("1", self.chosen("a.test", Named("1", "a.test"), Named("2", "a.test")))

    @given(st.lists(st.lists(PATTERN, max_size=3), min_size=1, max_size=4), NAME)
    def test_whatever_is_asked_the_rule_holds(self, names: list[list[str]], asked: str) -> None:
        """The choice is that of a slow model, which tries each certificate against each form."""
        identities = [Named(str(number), *each) for number, each in enumerate(names)]
        labels = asked.split(".")
        wild = ".".join(["*", *labels[1:]]) if len(labels) > 1 else asked
        exact = [one for one in identities if asked in one.names]
        loose = [one for one in identities if wild in one.names]
        self.assertIs((exact + loose + identities)[0], choose(identities, asked))

    @given(st.text())
    def test_no_name_is_an_error(self, asked: str) -> None:
        self.assertEqual("1", self.chosen(asked, Named("1", "never.asked.for.test")))


class FilesCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def put(self, name: str, content: bytes = b"") -> Path:
        file = self.folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        return file

    def refused(self, certificate: Path, key: Path | None = None) -> CertificateError:
        with self.assertRaises(CertificateError) as caught:
            load_identities(certificate, key)
        self.assertNotIn("\n", str(caught.exception))
        error: CertificateError = caught.exception
        return error


class FolderTests(FilesCase):
    """Which files of a folder count."""

    def names(self) -> list[str]:
        return [one.name for one in load_identities(self.folder)]

    def test_each_layout_is_found_in_alphabetical_order(self) -> None:
        self.put("c.pem", ALPHA.both)
        self.put("b.crt", BETA.pem)
        self.put("b.key", BETA.key_pem())
        self.put("a/fullchain.pem", NAMELESS.pem)
        self.put("a/privkey.pem", NAMELESS.key_pem())
        self.assertEqual(["a", "b", "c"], self.names())
        names = [one.names for one in load_identities(self.folder)]
        self.assertEqual([(), ("b.test", "c.wild.test"), ("a.test", "*.wild.test")], names)

    def test_all_else_is_passed_over(self) -> None:
        self.put("only.pem", ALPHA.both)
        for name in (".hidden.pem", "README", "a.key", "keys/privkey.pem", "a.pem.new"):
            self.put(name, b"nothing")
        self.assertEqual(["only"], self.names())

    def test_an_empty_folder_is_refused(self) -> None:
        self.assertIn("there is no certificate in", str(self.refused(self.folder)))

    def test_a_folder_takes_no_key_from_elsewhere(self) -> None:
        error = self.refused(self.folder, self.put("a.key"))
        self.assertEqual("private-key", error.setting)

    def test_one_bad_certificate_refuses_the_folder(self) -> None:
        self.put("a.pem", ALPHA.both)
        bad = self.put("b.pem", b"bad")
        self.assertIn(str(bad), str(self.refused(self.folder)))

    def test_a_folder_that_is_no_folder_is_refused(self) -> None:
        with self.assertRaises(CertificateError) as caught:
            list(find_pairs(self.put("file")))
        self.assertIn("not a directory", str(caught.exception))

    @given(st.lists(st.sampled_from(["a", "b", "B", "ä", "x.y"]), unique=True))
    def test_order_is_that_of_the_names(self, names: list[str]) -> None:
        for file in self.folder.iterdir():
            file.unlink()
        for name in names:
            self.put(f"{name}.pem")
        self.assertEqual(sorted(names), [pair.name for pair in find_pairs(self.folder)])


class LoadTests(FilesCase):
    """One certificate, and what is wrong with it."""

    def test_a_chain_is_kept_in_its_order(self) -> None:
        root = issue("root", authority=True)
        leaf = issue("leaf.test", by=root)
        file = self.put("site.pem", leaf.pem + root.pem)
        (found,) = load_identities(file, self.put("site.key", leaf.key_pem()))
        self.assertEqual((leaf.certificate, root.certificate), found.chain)
        self.assertEqual("site", found.name)

    def test_a_chain_that_begins_with_the_authority_is_refused(self) -> None:
        root = issue("root", authority=True)
        leaf = issue("leaf.test", by=root)
        error = self.refused(self.put("site.pem", root.pem + leaf.both))
        self.assertIn("put the server's own first", str(error))

    def test_a_key_of_another_certificate_is_refused(self) -> None:
        error = self.refused(self.put("a.pem", ALPHA.pem), self.put("b.key", BETA.key_pem()))
        self.assertEqual("private-key", error.setting)
        self.assertIn("is not that of the certificate", str(error))
        error = self.refused(self.put("ab.pem", ALPHA.pem + BETA.key_pem()))
        self.assertEqual("certificate", error.setting)

    def test_a_missing_key_is_asked_for(self) -> None:
        error = self.refused(self.put("a.pem", ALPHA.pem))
        self.assertIn("name the key's file with --private-key", str(error))

    def test_a_broken_key_is_not_quoted(self) -> None:
        key = self.put("a.key", b"-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----\n")
        error = self.refused(self.put("a.pem", ALPHA.pem), key)
        self.assertIn("no private key that can be read; give it in PEM", str(error))
        self.assertNotIn("SECRET", str(error))

    def test_an_encrypted_key_is_refused(self) -> None:
        key = self.put("a.key", ALPHA.key_pem(b"sesame"))
        self.assertIn("is encrypted", str(self.refused(self.put("a.pem", ALPHA.pem), key)))

    def test_a_file_that_is_not_there_is_named(self) -> None:
        gone = self.folder / "gone.pem"
        self.assertIn(f"{gone}: no such file", str(self.refused(gone)))

    def test_a_file_that_may_not_be_read_is_named(self) -> None:
        if os.geteuid() == 0:
            raise SkipTest("root may read all")
        file = self.put("a.pem", ALPHA.both)
        file.chmod(0)
        self.assertIn(f"{file}: permission denied", str(self.refused(file)))

    def test_a_file_without_a_certificate_is_refused(self) -> None:
        for content in (b"", b"\xff\0", b"-----BEGIN CERTIFICATE-----\nx\n"):
            self.assertIn("no certificate that", str(self.refused(self.put("a.pem", content))))

    @given(st.binary(max_size=200), st.integers(0, 1000))
    def test_no_content_is_an_error_of_ours(self, junk: bytes, at: int) -> None:
        both = ALPHA.both
        file = self.put("a.pem", both[:at] + junk + both[at:])
        try:
            load_identities(file)
        except CertificateError as error:
            self.assertIn(error.setting, ("certificate", "private-key"))

    def test_authorities_are_read(self) -> None:
        file = self.put("ca.pem", ALPHA.pem + BETA.pem)
        self.assertEqual((ALPHA.certificate, BETA.certificate), load_authorities(file))
        with self.assertRaises(CertificateError) as caught:
            load_authorities(self.put("none.pem"))
        self.assertEqual("client-ca", caught.exception.setting)


class SignatureTests(FilesCase):
    """A change of any file is seen."""

    def test_nothing_changed(self) -> None:
        file = self.put("a.pem", ALPHA.both)
        self.assertEqual(signature(file, None), signature(file, None))

    def test_changes(self) -> None:
        """Of content, of a link's end, of another file, and by one that comes or goes."""
        self.put("one.pem", ALPHA.both)
        two, other = self.put("elsewhere/two", BETA.both), self.put("ca/x", b"")
        seen = [signature(self.folder, None, other)]
        link = self.folder / "two.pem"
        link.symlink_to(two)
        seen.append(signature(self.folder, None, other))
        two.write_bytes(BETA.both + b"\n")
        seen.append(signature(self.folder, None, other))
        link.unlink()
        link.symlink_to(self.folder / "one.pem")
        seen.append(signature(self.folder, None, other))
        other.unlink()
        seen.append(signature(self.folder, None, other))
        link.unlink()
        seen.append(signature(self.folder, None, other))
        self.assertEqual(len(seen), len(set(seen)))

    def test_a_rewrite_of_the_same_size_is_seen(self) -> None:
        file = self.put("a.pem", b"1")
        os.utime(file, ns=(1, 1))
        before = signature(file, file)
        file.write_bytes(b"2")
        os.utime(file, ns=(2, 2))
        self.assertNotEqual(before, signature(file, file))

    def test_a_folder_that_is_gone_has_one_too(self) -> None:
        self.assertNotEqual(signature(self.folder, None), signature(self.folder / "gone", None))


class SelfSignedTests(SynchronousTestCase):
    """The throw-away certificate."""

    def test_it_is_for_this_machine_and_for_a_week(self) -> None:
        now = datetime.now(UTC)
        made = make_self_signed("box.test", now)
        self.assertEqual(("localhost", "box.test"), made.names)
        self.assertLess(now, made.ends)
        self.assertLess(made.ends, now + timedelta(days=8))
        self.assertEqual(95, len(made.fingerprint))

    def test_a_machine_may_be_called_anything(self) -> None:
        for host in ("localhost", "", "büro", "a b", "under_score"):
            self.assertEqual(("localhost",), make_self_signed(host).names)

    def test_no_two_are_the_same(self) -> None:
        self.assertNotEqual(make_self_signed("a").fingerprint, make_self_signed("a").fingerprint)

    def test_a_certificate_whose_names_cannot_be_read_has_none(self) -> None:
        class Broken:
            @property
            def extensions(self) -> object:
                raise ValueError

        self.assertEqual((), Identity("x", (Broken(),), None).names)  # type: ignore[arg-type]
