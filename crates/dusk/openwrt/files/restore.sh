#!/bin/sh
# Ends what a change of configuration left unfinished: the power went, or dusk did.
#
# A journal in /etc/dusk/apply says what files held before the change and after it (crates/fleet/src/apply/journal.rs).
# Where the mark `keep` names the journal, the change was confirmed and stays; else the device gets back what it had.
# Where somebody else wrote since, only the change's own UCI sections go back. The first argument is another root, for
# tests. Nothing here needs dusk itself, the network, or more than busybox.

root=${1:-}
dir=$root/etc/dusk/apply
journal=$dir/journal
[ -f "$journal" ] || exit 0
umask 077

say() {
	echo "dusk: $1" >&2
	[ -n "$root" ] || logger -t dusk "$1" 2>/dev/null
}

# Room first: whatever filled the flash, this was kept for now.
rm -f "$dir/reserve"

read -r magic version sum <"$journal"
actual=$(tail -n +2 "$journal" | sha256sum)
actual=${actual%% *}
if [ "$magic $version" != "dusk-journal 1" ] || [ "$sum" != "$actual" ]; then
	say "the journal of a change is damaged and nothing is restored from it: it is kept as $journal.damaged"
	mv -f "$journal" "$journal.damaged"
	rm -f "$dir/keep"
	exit 1
fi

kept=
[ "$(cat "$dir/keep" 2>/dev/null)" = "$sum" ] && kept=1

# content PLACE: the bytes at OFFSET:LENGTH of the journal's contents.
content() {
	tail -c +$((payload + ${1%%:*} + 1)) "$journal" | head -c "${1##*:}"
}

# digest FILE: its SHA-256, or - where there is none.
digest() {
	if [ -f "$1" ]; then
		d=$(sha256sum <"$1")
		echo "${d%% *}"
	else
		echo -
	fi
}

# finish: what was made in $target.dusk becomes the file, whole or not at all.
finish() {
	chmod "$mode" "$target.dusk" && chown "$owner:$group" "$target.dusk" || failed=1
	sync
	mv -f "$target.dusk" "$target" || failed=1
}

# put PLACE: the file gets that content, or goes.
put() {
	if [ "$1" = - ]; then
		rm -f "$target"
		return
	fi
	mkdir -p "${target%/*}"
	content "$1" >"$target.dusk" || failed=1
	finish
}

# Drops the sections of these names from what somebody else wrote. A line belongs to a value as long as a quote is open.
without() {
	awk -v names="$1" '
		BEGIN { n = split(names, list, ","); for (i = 1; i <= n; i++) ours[list[i]] = 1 }
		{
			if (!open && $0 ~ /^[ \t]*c(onfig)?[ \t]/) {
				split($0, words, /[ \t]+/)
				at = (words[1] == "") ? 4 : 3
				name = words[at]
				gsub(/[\047"]/, "", name)
				drop = (name != "" && (name in ours))
			}
			if (!drop) print
			if (open || $0 !~ /^[ \t]*#/) {
				line = $0
				gsub(/\\\047/, "", line)
				open = (open + gsub(/\047/, "", line)) % 2
			}
		}'
}

failed=
tail -n +2 "$journal" | {
	while read -r word path owner group mode old oldsum new newsum names sections; do
		case $word in
		payload)
			payload=$path
			# Zeros in front would make it octal.
			while [ "${payload#0}" != "$payload" ]; do payload=${payload#0}; done
			;;
		end) break ;;
		file)
			target=$root$path
			found=$(digest "$target")
			if [ -n "$kept" ]; then
				[ "$found" = "$oldsum" ] && [ "$found" != "$newsum" ] && put "$new"
			elif [ "$found" = "$oldsum" ]; then
				:
			elif [ "$found" = "$newsum" ]; then
				put "$old"
			elif [ "$names" != - ] && [ "$found" != - ]; then
				say "somebody else changed $path: only the sections $names are restored"
				{
					without "$names" <"$target"
					echo
					content "$sections"
				} >"$target.dusk" || failed=1
				finish
			else
				say "somebody else changed $path: it stays as it is"
			fi
			;;
		esac
	done
	sync
	if [ -n "$failed" ]; then
		say "not everything could be restored: the journal stays for the next start"
		exit 1
	fi
}
restored=$?
[ "$restored" = 0 ] || exit "$restored"
# For the agent, which tells its master.
echo "${kept:-0} $sum" >"$dir/restored"
rm -f "$journal"
sync
rm -f "$dir/keep"
if [ -n "$kept" ]; then
	say "a confirmed change is complete"
else
	say "a change that was not confirmed is taken back"
fi
