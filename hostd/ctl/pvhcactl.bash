# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion of pvhcactl(8)

# VMs of the pvhcad whose socket stands on the command line, if it runs.
_pvhcactl_vms()
{
	local cur=$1 name i
	local -a socket=()

	for ((i = 1; i < ${#COMP_WORDS[@]} - 1; i++)); do
		case ${COMP_WORDS[i]} in
		-s|--socket)
			# --socket=PATH is three words to readline
			[[ ${COMP_WORDS[i + 1]} == "=" ]] && ((i++))
			socket=(--socket "${COMP_WORDS[i + 1]}")
			;;
		esac
	done
	while IFS= read -r name; do
		[[ $name == "$cur"* ]] && COMPREPLY+=("$(printf %q "$name")")
	done < <("${COMP_WORDS[0]}" list --names "${socket[@]}" 2>/dev/null)
}

_pvhcactl()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local command="" options="--socket --json --help" i

	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		list|show|stats|top|reload|evict)
			command=${COMP_WORDS[i]}
			break
			;;
		esac
	done
	case $prev in
	-s|--socket)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	-i|--interval|-n|--count)
		return
		;;
	esac
	case $command in
	list) options+=" --names" ;;
	top) options+=" --interval --count" ;;
	"") options+=" --version" ;;
	esac
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
	elif [[ -z $command ]]; then
		mapfile -t COMPREPLY < <(compgen -W "list show stats top reload evict" -- "$cur")
	elif [[ $command == show || $command == stats || $command == evict ]]; then
		_pvhcactl_vms "$cur"
	fi
}

complete -F _pvhcactl pvhcactl
