# The smallest guest that says whether a processor is virtualised well: a boot sector that passes through real,
# protected and long mode, takes an interrupt in the latter two, adds two vectors, and only then prints a letter on the
# first serial port. Assembled into probe.bin by: as --64 -o probe.o probe.s && ld -Ttext 0x7c00
# --oformat binary -o probe.bin probe.o

        .set    IDT32, 0x1000
        .set    PML4, 0x2000
        .set    PDPT, 0x3000
        .set    PD, 0x4000
        .set    IDT64, 0x5000
        .set    VECTOR, 0x30

        .code16
        .globl  _start
_start: cli
        xorw    %ax, %ax
        movw    %ax, %ds
        lgdt    gdt_pointer
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmp    $0x08, $protected

        .code32
protected:
        movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $0x7000, %esp
        movl    $(0x80000 + return32), IDT32 + VECTOR * 8
        movl    $0x8e00, IDT32 + VECTOR * 8 + 4
        lidt    idt32_pointer
        int     $VECTOR

        # The first two megabytes are mapped to themselves.
        cld
        xorl    %eax, %eax
        movl    $PML4, %edi
        movl    $0xc00, %ecx
        rep stosl
        movl    $(PDPT + 3), PML4
        movl    $(PD + 3), PDPT
        movl    $0x83, PD
        movl    $PML4, %eax
        movl    %eax, %cr3
        movl    %cr4, %eax
        orl     $0x220, %eax
        movl    %eax, %cr4
        movl    $0xc0000080, %ecx
        rdmsr
        orl     $0x100, %eax
        wrmsr
        movl    %cr0, %eax
        orl     $0x80000002, %eax
        movl    %eax, %cr0
        ljmp    $0x18, $long

        .code64
long:   movl    $0x7000, %esp
        movl    $(0x180000 + return64), IDT64 + VECTOR * 16
        movl    $0x8e00, IDT64 + VECTOR * 16 + 4
        movq    $0, IDT64 + VECTOR * 16 + 8
        lidt    idt64_pointer
        int     $VECTOR
        movl    $'K' - 1, %eax
        movd    %eax, %xmm0
        movl    $1, %eax
        movd    %eax, %xmm1
        paddd   %xmm1, %xmm0
        movd    %xmm0, %eax
        movw    $0x3f8, %dx
        outb    %al, %dx
halt:   hlt
        jmp     halt
return64:
        iretq

        .code32
return32:
        iretl

        .balign 8
gdt:    .quad   0
        .quad   0x00cf9b000000ffff
        .quad   0x00cf93000000ffff
        .quad   0x00af9b000000ffff
gdt_pointer:
        .word   . - gdt - 1
        .long   gdt
idt32_pointer:
        .word   0x7ff
        .long   IDT32
idt64_pointer:
        .word   0xfff
        .quad   IDT64

        .org    510
        .word   0xaa55
